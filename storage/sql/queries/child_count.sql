SELECT count(*) FROM edges WHERE parent = $name
