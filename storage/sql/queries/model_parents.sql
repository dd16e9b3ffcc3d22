SELECT repo_id, parent, tree FROM models
