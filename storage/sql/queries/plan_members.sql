-- Fingerprints of a plan in order of precedence: the older model first, then by content, so that names never matter.
SELECT f.hub_id, f.revision, f.dtype, f.file_name, f.row_number
FROM store.fingerprint f
JOIN store.listed l USING (hub_id)
WHERE f.plan_id = $plan_id
ORDER BY l.created_at, l.last_modified, f.values_sha256, f.revision, f.hub_id
