SELECT cluster_id FROM store.cluster WHERE plan_id = $plan_id
