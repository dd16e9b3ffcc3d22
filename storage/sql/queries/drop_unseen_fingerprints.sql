-- Deleted, made private, or skipped at a newer revision: a finished sweep is the truth about what exists.
DELETE FROM store.fingerprint WHERE hub_id NOT IN (SELECT hub_id FROM store.listed WHERE sweep_id = $sweep_id)
