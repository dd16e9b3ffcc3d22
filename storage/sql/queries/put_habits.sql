INSERT OR REPLACE INTO store.habit
WITH card AS ( -- a row is one model with a parent, and one base that its card names
    SELECT e.child_id, e.relation, e.confidence, b.hub_id AS base_id
    FROM store.edge e
    JOIN (SELECT hub_id, unnest(declared_bases) AS base FROM store.listed) l ON l.hub_id = e.child_id
    LEFT JOIN (store.listed b JOIN store.fingerprint f USING (hub_id)) ON b.repo_id = l.base
    WHERE e.is_heaviest
),
trained AS (
    SELECT child_id, bool_and(base_id IS NULL) AS is_absent FROM card WHERE relation IN ('finetune', 'pretrain') GROUP BY child_id
),
checked AS (
    SELECT k.child_id, bool_or(e.child_id IS NOT NULL) AS is_true
    FROM card k
    LEFT JOIN store.edge e ON e.child_id = k.child_id AND e.parent_id = k.base_id
    WHERE k.base_id <> k.child_id
        AND (k.relation IN ('cast', 'quantized', 'pruned', 'merge') OR (k.relation IN ('finetune', 'pretrain', 'lora') AND k.confidence >= 0.99))
    GROUP BY k.child_id
),
copied AS (
    SELECT p.created_at < c.created_at AS is_younger
    FROM store.edge e
    JOIN store.listed p ON p.hub_id = e.parent_id
    JOIN store.listed c ON c.hub_id = e.child_id
    WHERE e.relation IN ('cast', 'quantized', 'pruned') AND p.created_at <> c.created_at
)
SELECT
    1,
    (SELECT count(*) FROM trained), (SELECT count(*) FROM trained WHERE is_absent),
    (SELECT count(*) FROM checked), (SELECT count(*) FROM checked WHERE is_true),
    (SELECT count(*) FROM copied), (SELECT count(*) FROM copied WHERE is_younger)
