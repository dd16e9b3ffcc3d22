-- What an index teaches about its own models: how many parents it lacks, how often cards are true, whether sources are older than copies.

-- One row, counted anew at the end of every run.
CREATE TABLE store.habit (
    id INTEGER PRIMARY KEY,
    trained_cards BIGINT NOT NULL, -- models with a finetune or pretrain edge whose card names a base
    absent_bases BIGINT NOT NULL, -- of these, models whose bases are all not in the index
    checked_cards BIGINT NOT NULL, -- cards that name a model of the index as base of a copy or merge, whose parents weights prove
    true_cards BIGINT NOT NULL, -- of these, those that name a true parent
    dated_copies BIGINT NOT NULL, -- casts, quantised and pruned copies, whose direction weights prove, not as old as their source
    younger_copies BIGINT NOT NULL -- of these, those created after their source
);

INSERT INTO store.habit VALUES (1, 0, 0, 0, 0, 0, 0);

-- One row: the habits of the index.
CREATE VIEW habits AS
SELECT trained_cards, absent_bases, checked_cards, true_cards, dated_copies, younger_copies FROM store.habit;

-- A row is one edge with the confidence that the habits of the index leave of what the weights say (docs/decisions/0076).
-- A trained model's parent may be missing, unless the rounding of a merged adapter tells what it was added to; an adapter's base is what its card says; equal weights take the oldest for the original.
CREATE VIEW store.stated_edge AS
SELECT e.* REPLACE (
    CASE
        WHEN (e.relation IN ('finetune', 'pretrain') OR (e.relation = 'lora' AND e.details ->> '$.rounding_nats' IS NULL))
            AND p.hub_id IS NOT NULL THEN e.confidence * (1 - h.absent_bases / (h.trained_cards + 1))
        WHEN e.relation = 'adapter' AND e.details ->> '$.base' <> 'weights' THEN (h.true_cards + 10 * e.confidence) / (h.checked_cards + 10)
        WHEN e.relation = 'duplicate' AND p.created_at < c.created_at THEN (h.younger_copies + 2 * e.confidence) / (h.dated_copies + 2)
        ELSE e.confidence
    END AS confidence
)
FROM store.edge e
CROSS JOIN store.habit h
LEFT JOIN store.listed p ON p.hub_id = e.parent_id
LEFT JOIN store.listed c ON c.hub_id = e.child_id;

-- As in 0005, with stated confidence.
CREATE OR REPLACE VIEW models AS
SELECT
    l.repo_id, f.revision, l.hub_id, c.tree_id AS tree, p.name AS parent, e.relation, e.confidence, e.evidence, m.depth, m.root_posterior,
    l.model_class, l.model_type, substr(pl.architecture, 1, 12) AS architecture, coalesce(y.is_adapter, FALSE) AS is_adapter, f.dtype, f.parameters,
    l.library, l.pipeline_tag, l.licence, l.tags, l.declared_bases, l.declared_relations, l.downloads, l.likes, l.gated, l.created_at,
    l.last_modified, f.weights_sha256, f.header_bytes, f.sampled_bytes, f.resolver_requests
FROM store.fingerprint f
JOIN store.listed l USING (hub_id)
JOIN store.plan pl USING (plan_id)
LEFT JOIN store.model_layout y USING (hub_id)
LEFT JOIN store.place m ON m.node_id = f.hub_id
LEFT JOIN store.tree_name c USING (cluster_id)
LEFT JOIN store.stated_edge e ON e.child_id = f.hub_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id;

-- As in 0004, with stated confidence.
CREATE OR REPLACE VIEW edges AS
SELECT
    p.name AS parent, c.name AS child, e.relation, e.confidence, e.evidence, t.tree_id AS tree, e.weight, e.is_heaviest, e.support,
    e.details::JSON AS details, e.parent_revision, e.child_revision,
    q.step_cost, q.changed_share, q.l1, q.l2_squared, q.norm_squared, q.l_ft, q.l_lora, q.l_lora_sum,
    CASE WHEN q.left_id = e.parent_id THEN q.direction ELSE -q.direction END AS direction_nats
FROM store.stated_edge e
JOIN store.named p ON p.node_id = e.parent_id
JOIN store.named c ON c.node_id = e.child_id
JOIN store.place m ON m.node_id = e.child_id
JOIN store.tree_name t USING (cluster_id)
LEFT JOIN store.pair q
    ON q.left_id = least(e.parent_id, e.child_id) AND q.right_id = greatest(e.parent_id, e.child_id);

-- As in 0004, with stated confidence.
CREATE OR REPLACE VIEW alternatives AS
SELECT c.name AS child, a.name AS parent, s.odds, p.name AS chosen_parent, e.confidence AS chosen_confidence
FROM store.alternative s
JOIN store.named c ON c.node_id = s.child_id
JOIN store.named a ON a.node_id = s.parent_id
LEFT JOIN store.stated_edge e ON e.child_id = s.child_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id;

-- As in 0005, with stated confidence.
CREATE OR REPLACE VIEW adapters AS
SELECT
    l.repo_id, p.name AS base, e.details ->> '$.base' AS base_known_from, e.confidence, list_max(y.ranks) AS rank, list_distinct(y.ranks) AS ranks,
    len(y.names)::BIGINT AS modules, list_contains(y.dora, TRUE) AS dora, y.names AS module_paths,
    coalesce(NULLIF(l.declared_bases, []), [m.configured_base]) AS declared_bases
FROM store.model_layout m
JOIN store.layout y USING (layout_id)
JOIN store.fingerprint f USING (hub_id)
JOIN store.listed l USING (hub_id)
LEFT JOIN store.stated_edge e ON e.child_id = m.hub_id AND e.relation = 'adapter'
LEFT JOIN store.named p ON p.node_id = e.parent_id
WHERE m.is_adapter;

-- As in 0004, with stated confidence.
CREATE OR REPLACE MACRO tree_of(m) AS TABLE
SELECT n.name AS model, p.name AS parent, k.depth, e.relation, e.confidence
FROM store.place k
JOIN store.named n USING (node_id)
LEFT JOIN store.stated_edge e ON e.child_id = k.node_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id
WHERE k.cluster_id IN (SELECT x.cluster_id FROM store.place x JOIN store.named y USING (node_id) WHERE y.name = m)
ORDER BY k.depth, model;
