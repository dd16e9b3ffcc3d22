SELECT DISTINCT file_name FROM store.fingerprint
