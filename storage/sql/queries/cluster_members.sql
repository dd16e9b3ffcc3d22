-- Members of a cluster in order of precedence: the older model first, then by content, so that names never matter.
SELECT f.hub_id, f.revision, f.dtype, f.file_name, f.row_number, l.repo_id, l.weight_files
FROM store.member m
JOIN store.fingerprint f USING (hub_id)
JOIN store.listed l USING (hub_id)
WHERE m.cluster_id = $cluster_id
ORDER BY l.created_at, l.last_modified, f.values_sha256, f.revision, f.hub_id
