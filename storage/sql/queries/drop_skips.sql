DELETE FROM store.skip WHERE hub_id IN (SELECT unnest($hub_ids))
