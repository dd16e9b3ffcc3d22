SELECT * FROM ghosts WHERE ghost = $name
