-- As in 0007, with Jeffreys' estimate of the share of parents that an index lacks (docs/decisions/0123): few cards that all name a base of the index do not show that every parent is here.
CREATE OR REPLACE VIEW store.stated_edge AS
SELECT e.* REPLACE (
    CASE
        WHEN (e.relation IN ('finetune', 'pretrain') OR (e.relation = 'lora' AND e.details ->> '$.rounding_nats' IS NULL))
            AND p.hub_id IS NOT NULL AND h.trained_cards > 0 THEN e.confidence * (1 - (h.absent_bases + 0.5) / (h.trained_cards + 1))
        WHEN e.relation = 'adapter' AND e.details ->> '$.base' <> 'weights' THEN (h.true_cards + 10 * e.confidence) / (h.checked_cards + 10)
        WHEN e.relation = 'duplicate' AND p.created_at < c.created_at THEN (h.younger_copies + 2 * e.confidence) / (h.dated_copies + 2)
        ELSE e.confidence
    END AS confidence
)
FROM store.edge e
CROSS JOIN store.habit h
LEFT JOIN store.listed p ON p.hub_id = e.parent_id
LEFT JOIN store.listed c ON c.hub_id = e.child_id;
