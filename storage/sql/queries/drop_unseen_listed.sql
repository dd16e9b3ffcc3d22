DELETE FROM store.listed WHERE sweep_id <> $sweep_id RETURNING hub_id
