SELECT * FROM alternatives WHERE child = $name
