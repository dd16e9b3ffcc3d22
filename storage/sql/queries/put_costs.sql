INSERT OR REPLACE INTO store.cost
SELECT unnest($hub_id), unnest($revision), unnest($resolver_requests), unnest($cdn_requests), unnest($received_bytes)
