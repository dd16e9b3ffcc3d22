INSERT INTO store.shift SELECT unnest($node_id::VARCHAR[]), unnest($steps::BIGINT[])
