DELETE FROM store.skip WHERE sweep_id <> $sweep_id
