SELECT s.repo_id FROM store.skip s JOIN store.fingerprint f USING (hub_id) ORDER BY ALL
