-- Models made of blocks of a model of another architecture: of other depth, or a part of it. They hang on it as adapters do.

-- Whether an edge was placed after the clusters were recovered: to an adapter, to a model that has blocks of one of another
-- cluster, or, turned round, inside a cluster that such a model is now above of.
ALTER TABLE store.edge ADD COLUMN is_graft BOOLEAN DEFAULT FALSE;
UPDATE store.edge SET is_graft = TRUE WHERE relation = 'adapter';

-- A row is the rows of one make of blocks that were read of a model where a plan, its own or another's, samples them.
CREATE TABLE store.block_reading (
    hub_id VARCHAR NOT NULL,
    revision VARCHAR NOT NULL,
    plan_id VARCHAR NOT NULL, -- says which rows
    make_id VARCHAR NOT NULL, -- digest of the blocks' tensors
    file_name VARCHAR NOT NULL, -- beside the fingerprints: a row for each block
    blocks BIGINT NOT NULL,
    PRIMARY KEY (hub_id, plan_id, make_id)
);

-- A row is an edge inside a cluster in whose place an edge from another cluster stands: the child has blocks of a model there.
CREATE TABLE store.replaced_edge AS FROM store.edge LIMIT 0;

-- A row is one node that is deeper or higher in the trunk than its place in its cluster and that of the cluster say.
CREATE TABLE store.shift (
    node_id VARCHAR PRIMARY KEY,
    steps BIGINT NOT NULL
);

-- A row is one cluster that hangs on models of another, the one to which that leads in the end, and how much deeper it is there than
-- in its own tree: by the edge to its highest node.
CREATE OR REPLACE VIEW store.graft AS
WITH RECURSIVE hung AS (
    SELECT
        a.cluster_id, arg_min(b.cluster_id, (a.depth, a.node_id)) AS trunk_id,
        arg_min(b.depth + coalesce(s.steps, 0), (a.depth, a.node_id)) + 1 AS lift
    FROM store.edge e
    JOIN store.own_place a ON a.node_id = e.child_id
    JOIN store.own_place b ON b.node_id = e.parent_id
    LEFT JOIN store.shift s ON s.node_id = e.parent_id
    WHERE e.is_graft AND e.is_heaviest AND a.cluster_id <> b.cluster_id
    GROUP BY a.cluster_id
),
up (cluster_id, trunk_id, lift) AS (
    SELECT cluster_id, trunk_id, lift FROM hung
    UNION ALL
    SELECT up.cluster_id, hung.trunk_id, up.lift + hung.lift FROM up JOIN hung ON hung.cluster_id = up.trunk_id
)
SELECT cluster_id, arg_max(trunk_id, lift) AS trunk_id, max(lift) AS lift FROM up GROUP BY cluster_id;

-- As in 0005, with nodes that hang elsewhere than their cluster's root.
CREATE OR REPLACE VIEW store.place AS
SELECT
    o.node_id, coalesce(g.trunk_id, o.cluster_id) AS cluster_id, o.depth + coalesce(g.lift, 0) + coalesce(s.steps, 0) AS depth,
    CASE WHEN g.trunk_id IS NULL THEN o.root_posterior ELSE 0.0 END AS root_posterior, o.is_ghost
FROM store.own_place o
LEFT JOIN store.graft g USING (cluster_id)
LEFT JOIN store.shift s ON s.node_id = o.node_id;

-- As in 0009; the table has a column more.
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
