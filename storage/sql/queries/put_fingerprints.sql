INSERT OR REPLACE INTO store.fingerprint
SELECT
    unnest($hub_id), unnest($revision), $plan_id, unnest($dtype), unnest($parameters), unnest($values_sha256), unnest($weights_sha256::VARCHAR[]),
    unnest($header_bytes), unnest($sampled_bytes), unnest($resolver_requests), $file_name, unnest($row_number)
