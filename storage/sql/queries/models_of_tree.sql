SELECT * FROM models WHERE tree IN (SELECT tree FROM models WHERE repo_id = $name) ORDER BY depth, repo_id
