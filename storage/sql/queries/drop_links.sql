DELETE FROM store.link WHERE plan_id = $plan_id
