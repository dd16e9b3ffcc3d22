SELECT * FROM models WHERE repo_id = $name
