SELECT * FROM edges ORDER BY tree, parent, child
