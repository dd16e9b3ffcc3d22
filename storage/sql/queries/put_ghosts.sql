INSERT INTO store.ghost
SELECT unnest($ghost_id::VARCHAR[]), $cluster_id, unnest($depth::BIGINT[]), unnest($root_posterior::DOUBLE[])
