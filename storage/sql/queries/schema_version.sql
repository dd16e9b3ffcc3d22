SELECT max(number) FROM schema_version
