"""The index folder: a DuckDB catalog, fingerprint and vector files, read-only snapshots; and the values that travel."""
