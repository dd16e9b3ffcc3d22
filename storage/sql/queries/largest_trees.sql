SELECT * FROM trees ORDER BY models DESC, root, tree LIMIT $most
