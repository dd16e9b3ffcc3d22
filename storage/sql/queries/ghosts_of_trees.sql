SELECT * FROM ghosts WHERE tree IN (SELECT unnest($trees::VARCHAR[])) ORDER BY tree, depth, ghost
