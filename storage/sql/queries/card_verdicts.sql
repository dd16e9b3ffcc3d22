SELECT repo_id, declared, verdict FROM card_audit_of($names) ORDER BY repo_id
