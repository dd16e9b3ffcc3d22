SELECT * FROM ghosts ORDER BY tree, depth, ghost
