SELECT file_name FROM store.fingerprint UNION SELECT file_name FROM store.block_reading
