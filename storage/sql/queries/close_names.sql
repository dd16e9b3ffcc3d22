SELECT repo_id
FROM (SELECT repo_id, jaro_winkler_similarity(lower(repo_id), lower($name)) AS likeness FROM models)
WHERE likeness > 0.7
ORDER BY likeness DESC, repo_id LIMIT 3
