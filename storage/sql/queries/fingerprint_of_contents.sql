-- A model whose weights are these, by whatever plan they were sampled.
SELECT hub_id FROM store.fingerprint WHERE contents = $contents::UUID LIMIT 1
