SELECT repo_id, declared, verdict FROM card_audit WHERE repo_id IN (SELECT unnest($names::VARCHAR[])) ORDER BY repo_id
