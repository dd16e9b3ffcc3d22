SELECT * FROM models ORDER BY tree, depth, repo_id
