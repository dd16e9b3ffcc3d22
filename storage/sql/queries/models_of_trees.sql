SELECT * FROM models WHERE tree IN (SELECT unnest($trees::VARCHAR[])) ORDER BY tree, depth, repo_id
