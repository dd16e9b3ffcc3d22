-- A fingerprint of the same weights by the same plan settings, whoever's they are, with the layout of that revision.
SELECT
    f.contents::VARCHAR, f.plan_id, f.dtype, f.parameters, f.values_sha256, f.weights_sha256, f.header_bytes, f.sampled_bytes, f.file_name,
    f.row_number, y.layout_id, y.is_adapter
FROM store.fingerprint f
JOIN store.plan p USING (plan_id)
JOIN store.model_layout y ON y.hub_id = f.hub_id AND y.revision = f.revision
WHERE f.contents = $contents::UUID AND p.budget_weights = $budget_weights AND p.version = $plan_version
ORDER BY f.hub_id
LIMIT 1
