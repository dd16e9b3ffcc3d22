-- Provisional trees, the least certain first: exact evidence is worth most there. `stored_bytes` is what reading them takes.
SELECT
    c.cluster_id, c.plan_id, c.size,
    sum(f.parameters * CASE WHEN f.dtype = 'F64' THEN 8 WHEN f.dtype = 'F32' THEN 4 WHEN f.dtype IN ('F16', 'BF16') THEN 2 ELSE 1 END)::BIGINT
        AS stored_bytes
FROM store.cluster c
JOIN store.member m USING (cluster_id)
JOIN store.fingerprint f USING (hub_id)
LEFT JOIN store.edge e ON e.child_id = m.hub_id AND e.is_heaviest -- one row a member, also of merges
WHERE c.evidence = 'fingerprint'
GROUP BY c.cluster_id, c.plan_id, c.size
ORDER BY min(e.confidence), c.cluster_id
