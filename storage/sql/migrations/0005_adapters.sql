-- Unmerged adapters: what they change, which models they fit, and their place under the model they were made for.

-- A row is one set of tensors, of models or of what adapters change: names are canonical for models, modules' paths for adapters.
-- Names, rows and cols have one entry for each tensor, sorted by name. For an adapter rank and dora stand beside them.
CREATE TABLE store.layout (
    layout_id VARCHAR PRIMARY KEY, -- digest of all that follows
    names VARCHAR[] NOT NULL,
    rows BIGINT[] NOT NULL,
    cols BIGINT[] NOT NULL,
    ranks BIGINT[] NOT NULL, -- of an adapter's factors; empty for models
    dora BOOLEAN[] NOT NULL -- whether a module's columns are rescaled too; empty for models
);

-- A row is the layout of one model whose weights were read.
CREATE TABLE store.model_layout (
    hub_id VARCHAR PRIMARY KEY,
    revision VARCHAR NOT NULL,
    layout_id VARCHAR NOT NULL,
    is_adapter BOOLEAN NOT NULL,
    configured_base VARCHAR -- of an adapter: what its configuration names, where the listing declares nothing
);

-- A row is one model that was read before layouts were kept: the next crawl reads it again.
CREATE TABLE store.without_layout AS SELECT hub_id, revision FROM store.fingerprint;

-- A row is what the weights of one adapter say of one model: whether it was made for that model's family. Read once a revision.
CREATE TABLE store.adapter_score (
    adapter_id VARCHAR NOT NULL,
    base_id VARCHAR NOT NULL,
    adapter_revision VARCHAR NOT NULL,
    base_revision VARCHAR NOT NULL,
    score DOUBLE NOT NULL, -- standard deviations of what strangers reach
    units BIGINT NOT NULL, -- rows that were compared, over all modules
    PRIMARY KEY (adapter_id, base_id)
);

-- A row is one node's place in its own cluster, adapters' clusters aside from the trees that they hang on.
CREATE VIEW store.own_place AS
SELECT hub_id AS node_id, cluster_id, depth, root_posterior, FALSE AS is_ghost FROM store.member
UNION ALL
SELECT ghost_id, cluster_id, depth, root_posterior, TRUE FROM store.ghost;

-- A row is one cluster of adapters that hangs on a model of another cluster, and how much deeper it is there.
CREATE VIEW store.graft AS
SELECT a.cluster_id, min(b.cluster_id) AS trunk_id, min(b.depth) + 1 AS lift
FROM store.edge e
JOIN store.own_place a ON a.node_id = e.child_id
JOIN store.own_place b ON b.node_id = e.parent_id
WHERE e.relation = 'adapter' AND a.cluster_id <> b.cluster_id
GROUP BY a.cluster_id;

-- A row is one node's place in its tree; `cluster_id` is that of the tree's trunk.
CREATE OR REPLACE VIEW store.place AS
SELECT
    o.node_id, coalesce(g.trunk_id, o.cluster_id) AS cluster_id, CASE WHEN g.trunk_id IS NULL THEN o.depth ELSE o.depth + g.lift END AS depth,
    CASE WHEN g.trunk_id IS NULL THEN o.root_posterior ELSE 0.0 END AS root_posterior, o.is_ghost
FROM store.own_place o
LEFT JOIN store.graft g USING (cluster_id);

-- A row is one tree under the name that analysts know: the smallest hub id of its models.
CREATE OR REPLACE VIEW store.tree_name AS
SELECT cluster_id, min(node_id) AS tree_id FROM store.place WHERE NOT is_ghost GROUP BY cluster_id;

-- As in 0004, with adapters in the tree of the model that they were made for.
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
LEFT JOIN store.edge e ON e.child_id = f.hub_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id;

-- As in 0004.
CREATE OR REPLACE VIEW ghosts AS
SELECT
    g.ghost_id AS ghost, t.tree_id AS tree, p.name AS parent, m.depth,
    (SELECT count(*) FROM store.edge k WHERE k.parent_id = g.ghost_id) AS children, m.root_posterior
FROM store.ghost g
JOIN store.place m ON m.node_id = g.ghost_id
JOIN store.tree_name t ON t.cluster_id = m.cluster_id
LEFT JOIN store.edge e ON e.child_id = g.ghost_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id;

-- A row is one unmerged adapter and what it changes, whether or not the model it was made for is in the index.
CREATE VIEW adapters AS
SELECT
    l.repo_id, p.name AS base, e.details ->> '$.base' AS base_known_from, e.confidence, list_max(y.ranks) AS rank, list_distinct(y.ranks) AS ranks,
    len(y.names)::BIGINT AS modules, list_contains(y.dora, TRUE) AS dora, y.names AS module_paths,
    coalesce(NULLIF(l.declared_bases, []), [m.configured_base]) AS declared_bases
FROM store.model_layout m
JOIN store.layout y USING (layout_id)
JOIN store.fingerprint f USING (hub_id)
JOIN store.listed l USING (hub_id)
LEFT JOIN store.edge e ON e.child_id = m.hub_id AND e.relation = 'adapter'
LEFT JOIN store.named p ON p.node_id = e.parent_id
WHERE m.is_adapter;

-- As in 0004: an adapter is in the tree of its base.
CREATE OR REPLACE MACRO card_audit_of(names) AS TABLE
WITH RECURSIVE claim AS (
    SELECT l.hub_id, unnest(l.declared_bases) AS base
    FROM store.listed l
    JOIN store.fingerprint f USING (hub_id)
    WHERE l.repo_id IN (SELECT unnest(names::VARCHAR[]))
),
up (hub_id, ancestor_id, depth) AS (
    SELECT e.child_id, e.parent_id, 1 FROM store.edge e WHERE e.child_id IN (SELECT hub_id FROM claim)
    UNION
    SELECT up.hub_id, e.parent_id, up.depth + 1 FROM up JOIN store.edge e ON e.child_id = up.ancestor_id
),
judged AS (
    SELECT
        k.hub_id,
        max(CASE
            WHEN b.hub_id = k.hub_id THEN 0
            WHEN u.depth = 1 THEN 5
            WHEN u.depth > 1 THEN 4
            WHEN mb.cluster_id = mc.cluster_id THEN 3
            WHEN b.hub_id IS NOT NULL THEN 2
            ELSE 1
        END) AS rank
    FROM claim k
    LEFT JOIN (store.listed b JOIN store.fingerprint bf USING (hub_id)) ON b.repo_id = k.base
    LEFT JOIN up u ON u.hub_id = k.hub_id AND u.ancestor_id = b.hub_id
    LEFT JOIN store.place mc ON mc.node_id = k.hub_id
    LEFT JOIN store.place mb ON mb.node_id = b.hub_id
    GROUP BY k.hub_id
)
SELECT
    m.repo_id, m.declared_bases AS declared, m.parent AS recovered, m.relation, m.confidence,
    CASE j.rank
        WHEN 5 THEN 'agrees'
        WHEN 4 THEN 'ancestor'
        WHEN 3 THEN 'kin'
        WHEN 2 THEN 'contradicts'
        WHEN 1 THEN 'unknown_base'
        WHEN 0 THEN 'itself'
        ELSE 'silent'
    END AS verdict
FROM models m
LEFT JOIN judged j USING (hub_id)
WHERE m.repo_id IN (SELECT unnest(names::VARCHAR[]));
