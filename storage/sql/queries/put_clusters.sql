INSERT INTO store.cluster SELECT unnest($cluster_id::VARCHAR[]), $plan_id, unnest($size::BIGINT[]), 'none'
