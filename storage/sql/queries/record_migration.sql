INSERT INTO schema_version VALUES ($number, $name)
