SELECT repo_id, stage, reason, detail FROM skips ORDER BY repo_id LIMIT $most
