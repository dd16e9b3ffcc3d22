SELECT *
FROM models
WHERE tree IN (SELECT tree FROM models WHERE repo_id = $name UNION ALL SELECT tree FROM ghosts WHERE ghost = $name)
ORDER BY depth, repo_id
