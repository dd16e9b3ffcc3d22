SELECT stage, reason, detail FROM skips WHERE repo_id = $name
