COPY (SELECT * FROM edges ORDER BY tree, parent, child) TO $path (FORMAT parquet, USE_TMP_FILE false)
