SELECT repo_id, avg(kurtosis) FROM moments WHERE repo_id IN (SELECT unnest($names::VARCHAR[])) GROUP BY repo_id
