-- A model that stays left out was seen by this sweep, perhaps under a new name.
UPDATE store.skip SET sweep_id = $sweep_id, repo_id = l.repo_id
FROM store.listed l
WHERE l.hub_id = skip.hub_id AND l.sweep_id = $sweep_id AND skip.sweep_id <> $sweep_id
