SELECT l.repo_id, f.file_name, f.row_number, f.values_sha256
FROM store.fingerprint f
JOIN store.listed l USING (hub_id)
ORDER BY f.file_name, f.row_number
