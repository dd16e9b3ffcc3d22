DELETE FROM store.fingerprint WHERE hub_id IN (SELECT unnest($hub_ids))
