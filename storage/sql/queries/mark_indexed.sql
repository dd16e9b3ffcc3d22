UPDATE store.plan SET indexed_members = $digest WHERE plan_id = $plan_id
