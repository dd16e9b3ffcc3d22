DELETE FROM store.cost WHERE hub_id NOT IN (SELECT hub_id FROM store.listed)
