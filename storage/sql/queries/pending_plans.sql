-- Sample plans whose fingerprints are not those that their last index step saw, with the digest of what is there now.
WITH present AS (
    SELECT plan_id, md5(string_agg(hub_id || revision || values_sha256, ',' ORDER BY hub_id)) AS digest
    FROM store.fingerprint
    GROUP BY plan_id
)
SELECT p.plan_id, coalesce(n.digest, '') AS digest, p.architecture, p.budget_weights, p.version, p.names, p.row_start, p.row_count, p.tensor_rows, p.cols
FROM store.plan p
LEFT JOIN present n USING (plan_id)
WHERE coalesce(p.indexed_members, '') <> coalesce(n.digest, '')
ORDER BY p.plan_id
