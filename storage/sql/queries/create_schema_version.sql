-- A row is one migration that was applied.
CREATE TABLE IF NOT EXISTS schema_version (number INTEGER PRIMARY KEY, name VARCHAR NOT NULL)
