SELECT * FROM edges WHERE NOT is_heaviest AND tree IN (SELECT unnest($trees::VARCHAR[])) ORDER BY tree, child, weight DESC, parent
