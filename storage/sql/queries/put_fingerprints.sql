INSERT OR REPLACE INTO store.fingerprint
SELECT
    unnest($hub_id::VARCHAR[]), unnest($revision::VARCHAR[]), unnest($plan_id::VARCHAR[]), unnest($dtype::VARCHAR[]), unnest($parameters::BIGINT[]),
    unnest($values_sha256::VARCHAR[]), unnest($weights_sha256::VARCHAR[]), unnest($header_bytes::BIGINT[]), unnest($sampled_bytes::BIGINT[]),
    unnest($resolver_requests::BIGINT[]), unnest($file_name::VARCHAR[]), unnest($row_number::BIGINT[]), unnest($contents::UUID[])
