-- A Model Graph with several parents at merges, models that the evidence asks for and the index does not hold, and second-best parents.

CREATE TABLE store.edge_before AS FROM store.edge;
DROP TABLE store.edge;

-- A row is one current edge parent -> child. An end may be a ghost, which has no revision.
CREATE TABLE store.edge (
    child_id VARCHAR NOT NULL,
    parent_id VARCHAR NOT NULL,
    child_revision VARCHAR, -- NULL: a ghost
    parent_revision VARCHAR, -- NULL: a ghost
    relation VARCHAR NOT NULL,
    confidence DOUBLE NOT NULL,
    evidence VARCHAR NOT NULL,
    weight DOUBLE NOT NULL, -- share of the child that this parent gave; 1, less at merges
    support DOUBLE, -- share of resamplings of the layers that find the edge again; NULL where not resampled
    details VARCHAR NOT NULL, -- JSON object: the numbers behind the relation
    is_heaviest BOOLEAN NOT NULL, -- one edge of every child: the one that questions about trees follow
    PRIMARY KEY (child_id, parent_id)
);
INSERT INTO store.edge
SELECT child_id, parent_id, child_revision, parent_revision, relation, confidence, evidence, 1.0, NULL, '{}', TRUE FROM store.edge_before;
DROP TABLE store.edge_before;

CREATE TABLE store.edge_history_before AS FROM store.edge_history;
DROP TABLE store.edge_history;

-- A row is one edge that was current from run `valid_from_run` to before run `valid_to_run` (NULL: still is). Names and
-- revisions are those of that time, so that the history can be read after a model is gone.
CREATE TABLE store.edge_history (
    child_id VARCHAR NOT NULL,
    parent_id VARCHAR NOT NULL,
    child VARCHAR NOT NULL,
    parent VARCHAR NOT NULL,
    child_revision VARCHAR,
    parent_revision VARCHAR,
    relation VARCHAR NOT NULL,
    confidence DOUBLE NOT NULL,
    evidence VARCHAR NOT NULL,
    weight DOUBLE NOT NULL,
    support DOUBLE,
    details VARCHAR NOT NULL,
    is_heaviest BOOLEAN NOT NULL,
    valid_from_run BIGINT NOT NULL,
    valid_to_run BIGINT
);
INSERT INTO store.edge_history
SELECT
    child_id, parent_id, child, parent, child_revision, parent_revision, relation, confidence, evidence, 1.0, NULL, '{}', TRUE,
    valid_from_run, valid_to_run
FROM store.edge_history_before;
DROP TABLE store.edge_history_before;

-- A row is one model that the evidence asks for and the index does not hold. Its id is a digest of the models right under
-- it, so that the same evidence gives the same ghost in whatever order the models came.
CREATE TABLE store.ghost (
    ghost_id VARCHAR PRIMARY KEY, -- 'ghost:...'
    cluster_id VARCHAR NOT NULL,
    depth BIGINT NOT NULL, -- edges from the root
    root_posterior DOUBLE NOT NULL
);

-- A row is one node's second-best parent; either may be a ghost.
CREATE TABLE store.alternative (
    child_id VARCHAR PRIMARY KEY,
    parent_id VARCHAR NOT NULL,
    odds DOUBLE NOT NULL -- of this parent against the chosen one
);

-- A row is the name of one node of the graph: a repository's, or a ghost's id.
CREATE VIEW store.named AS
SELECT hub_id AS node_id, repo_id AS name FROM store.listed
UNION ALL
SELECT ghost_id, ghost_id FROM store.ghost;

-- A row is one node's place in its cluster.
CREATE VIEW store.place AS
SELECT hub_id AS node_id, cluster_id, depth, root_posterior, FALSE AS is_ghost FROM store.member
UNION ALL
SELECT ghost_id, cluster_id, depth, root_posterior, TRUE FROM store.ghost;

-- A row is one cluster under the name that analysts know: the smallest hub id of its models.
CREATE VIEW store.tree_name AS
SELECT cluster_id, min(hub_id) AS tree_id FROM store.member GROUP BY cluster_id;

-- A row is one model whose weights were read, with its place in the Model Graph; `parent` is the heaviest of a merge.
CREATE OR REPLACE VIEW models AS
SELECT
    l.repo_id, f.revision, l.hub_id, c.tree_id AS tree, p.name AS parent, e.relation, e.confidence, e.evidence, m.depth, m.root_posterior,
    l.model_class, l.model_type, substr(pl.architecture, 1, 12) AS architecture, f.dtype, f.parameters, l.library, l.pipeline_tag,
    l.licence, l.tags, l.declared_bases, l.declared_relations, l.downloads, l.likes, l.gated, l.created_at, l.last_modified,
    f.weights_sha256, f.header_bytes, f.sampled_bytes, f.resolver_requests
FROM store.fingerprint f
JOIN store.listed l USING (hub_id)
JOIN store.plan pl USING (plan_id)
LEFT JOIN store.member m USING (hub_id)
LEFT JOIN store.tree_name c USING (cluster_id)
LEFT JOIN store.edge e ON e.child_id = f.hub_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id;

-- A row is one current edge: `child` was made from `parent`; a merge has a row for each of its parents.
CREATE OR REPLACE VIEW edges AS
SELECT
    p.name AS parent, c.name AS child, e.relation, e.confidence, e.evidence, t.tree_id AS tree, e.weight, e.is_heaviest, e.support,
    e.details::JSON AS details, e.parent_revision, e.child_revision,
    q.step_cost, q.changed_share, q.l1, q.l2_squared, q.norm_squared, q.l_ft, q.l_lora, q.l_lora_sum,
    CASE WHEN q.left_id = e.parent_id THEN q.direction ELSE -q.direction END AS direction_nats
FROM store.edge e
JOIN store.named p ON p.node_id = e.parent_id
JOIN store.named c ON c.node_id = e.child_id
JOIN store.place m ON m.node_id = e.child_id
JOIN store.tree_name t USING (cluster_id)
LEFT JOIN store.pair q
    ON q.left_id = least(e.parent_id, e.child_id) AND q.right_id = greatest(e.parent_id, e.child_id);

-- A row is one model that the evidence asks for and the index does not hold.
CREATE VIEW ghosts AS
SELECT
    g.ghost_id AS ghost, t.tree_id AS tree, p.name AS parent, g.depth,
    (SELECT count(*) FROM store.edge k WHERE k.parent_id = g.ghost_id) AS children, g.root_posterior
FROM store.ghost g
JOIN store.tree_name t USING (cluster_id)
LEFT JOIN store.edge e ON e.child_id = g.ghost_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id;

-- A row is one model's or ghost's second-best parent beside the one that was chosen.
CREATE VIEW alternatives AS
SELECT c.name AS child, a.name AS parent, s.odds, p.name AS chosen_parent, e.confidence AS chosen_confidence
FROM store.alternative s
JOIN store.named c ON c.node_id = s.child_id
JOIN store.named a ON a.node_id = s.parent_id
LEFT JOIN store.edge e ON e.child_id = s.child_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id;

-- A row is one node and one of its ancestors through any parent, at least `depth` edges above it; depth 1 is a parent.
CREATE OR REPLACE VIEW ancestry AS
WITH RECURSIVE up (child_id, ancestor_id, depth) AS (
    SELECT child_id, parent_id, 1 FROM store.edge
    UNION
    SELECT up.child_id, e.parent_id, up.depth + 1 FROM up JOIN store.edge e ON e.child_id = up.ancestor_id
)
SELECT c.name AS model, a.name AS ancestor, min(up.depth) AS depth
FROM up
JOIN store.named c ON c.node_id = up.child_id
JOIN store.named a ON a.node_id = up.ancestor_id
GROUP BY c.name, a.name;

-- A row is one edge over the runs in which it stood.
CREATE OR REPLACE VIEW edge_history AS
SELECT
    parent, child, relation, confidence, evidence, weight, is_heaviest, support, details::JSON AS details, parent_revision, child_revision,
    valid_from_run, valid_to_run
FROM store.edge_history;

-- A row is one Model Tree; a model with no kin in the index is a tree of one. The root may be a ghost.
CREATE OR REPLACE VIEW trees AS
SELECT
    min(m.node_id) FILTER (NOT m.is_ghost) AS tree, any_value(n.name) FILTER (m.depth = 0) AS root,
    count(*) FILTER (NOT m.is_ghost) AS models, count(*) FILTER (m.is_ghost) AS ghosts, max(m.depth) AS depth,
    any_value(m.root_posterior) FILTER (m.depth = 0) AS root_posterior, any_value(c.evidence) AS evidence,
    substr(any_value(p.architecture), 1, 12) AS architecture, any_value(l.model_class) FILTER (m.depth = 0) AS model_class
FROM store.place m
JOIN store.named n USING (node_id)
JOIN store.cluster c USING (cluster_id)
JOIN store.plan p USING (plan_id)
LEFT JOIN store.listed l ON l.hub_id = m.node_id
GROUP BY m.cluster_id;

-- As in 0002, with all parents of a merge: any of them agrees. A claim names a repository, so a ghost never does.
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
    LEFT JOIN store.member mc ON mc.hub_id = k.hub_id
    LEFT JOIN store.member mb ON mb.hub_id = b.hub_id
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

-- Ancestry questions by name, a repository's or a ghost's. As in 0003, recursion is in semi-join form and all rows of one
-- round have equal depth; UNION, so that a node reached twice in a round is followed once.

-- All ancestors of a model, through every parent, nearest first: (model, depth); depth 1 are its parents.
CREATE OR REPLACE MACRO ancestors(m) AS TABLE
WITH RECURSIVE up (node_id, depth) AS (
    SELECT node_id, 0 FROM store.named WHERE name = m
    UNION
    SELECT e.parent_id, (SELECT any_value(depth) FROM up) + 1 FROM store.edge e WHERE e.child_id IN (SELECT node_id FROM up)
)
SELECT n.name AS model, min(up.depth) AS depth
FROM up
JOIN store.named n USING (node_id)
WHERE up.depth > 0
GROUP BY n.name
ORDER BY depth, model;

-- The heaviest parents of a model up to the root, nearest first: (model, depth); depth 1 is its heaviest parent.
CREATE MACRO main_line(m) AS TABLE
WITH RECURSIVE up (node_id, depth) AS (
    SELECT node_id, 0 FROM store.named WHERE name = m
    UNION ALL
    SELECT e.parent_id, (SELECT any_value(depth) FROM up) + 1 FROM store.edge e WHERE e.is_heaviest AND e.child_id IN (SELECT node_id FROM up)
)
SELECT n.name AS model, up.depth FROM up JOIN store.named n USING (node_id) WHERE up.depth > 0 ORDER BY up.depth;

-- Everything made from a model, through any parent, nearest first: (model, depth). The depth is counted along heaviest parents
-- where they lead to the model, else the least through any.
CREATE OR REPLACE MACRO descendants(m) AS TABLE
WITH RECURSIVE down (node_id, depth) AS (
    SELECT node_id, 0 FROM store.named WHERE name = m
    UNION
    SELECT e.child_id, (SELECT any_value(depth) FROM down) + 1 FROM store.edge e WHERE e.parent_id IN (SELECT node_id FROM down)
),
heavy (node_id, depth) AS (
    SELECT node_id, 0 FROM store.named WHERE name = m
    UNION ALL
    SELECT e.child_id, (SELECT any_value(depth) FROM heavy) + 1 FROM store.edge e WHERE e.is_heaviest AND e.parent_id IN (SELECT node_id FROM heavy)
)
SELECT n.name AS model, coalesce(any_value(heavy.depth), min(down.depth)) AS depth
FROM down
JOIN store.named n USING (node_id)
LEFT JOIN heavy USING (node_id)
WHERE down.depth > 0
GROUP BY n.name
ORDER BY depth, model;

-- Models with the same heaviest parent: (model).
CREATE OR REPLACE MACRO siblings(m) AS TABLE
SELECT n.name AS model
FROM store.edge e
JOIN store.named n ON n.node_id = e.child_id
WHERE e.is_heaviest AND n.name <> m
    AND e.parent_id IN (SELECT x.parent_id FROM store.edge x JOIN store.named y ON y.node_id = x.child_id WHERE x.is_heaviest AND y.name = m)
ORDER BY model;

-- The nearest model that is, or is on the main line of, both: (model), no row when they are in different trees.
CREATE OR REPLACE MACRO common_ancestor(a, b) AS TABLE
SELECT x.model
FROM (SELECT model, depth FROM main_line(a) UNION ALL SELECT name, 0 FROM store.named WHERE name = a) x
JOIN (SELECT model, depth FROM main_line(b) UNION ALL SELECT name, 0 FROM store.named WHERE name = b) y USING (model)
ORDER BY x.depth
LIMIT 1;

-- The path from a up to the common ancestor and down to b, along heaviest parents: (step, model).
CREATE OR REPLACE MACRO lineage(a, b) AS TABLE
WITH meeting AS (SELECT model FROM common_ancestor(a, b)),
up AS (SELECT model, depth FROM main_line(a) UNION ALL SELECT name, 0 FROM store.named WHERE name = a),
down AS (SELECT model, depth FROM main_line(b) UNION ALL SELECT name, 0 FROM store.named WHERE name = b),
top AS (SELECT u.depth AS rise, d.depth AS fall FROM meeting JOIN up u USING (model) JOIN down d USING (model)),
path AS (
    SELECT depth AS step, model FROM up, top WHERE depth <= rise
    UNION ALL
    SELECT rise + fall - depth, model FROM down, top WHERE depth < fall
)
SELECT step, model FROM path ORDER BY step;

-- All kin of a model along heaviest parents: (model, rise, fall); the path goes up `rise` edges to the nearest common ancestor and down `fall`.
CREATE OR REPLACE MACRO relatives(m) AS TABLE
WITH RECURSIVE tree_edge AS (SELECT child_id, parent_id FROM store.edge WHERE is_heaviest),
up (node_id, rise) AS (
    SELECT node_id, 0 FROM store.named WHERE name = m
    UNION ALL
    SELECT e.parent_id, (SELECT any_value(rise) FROM up) + 1 FROM tree_edge e WHERE e.child_id IN (SELECT node_id FROM up)
),
spread (node_id, rise, fall) AS (
    SELECT node_id, rise, 0 FROM up
    UNION ALL
    SELECT e.child_id, s.rise, s.fall + 1 FROM spread s JOIN tree_edge e ON e.parent_id = s.node_id WHERE e.child_id NOT IN (SELECT node_id FROM up)
)
SELECT n.name AS model, spread.rise, spread.fall
FROM spread
JOIN store.named n USING (node_id)
WHERE spread.rise + spread.fall > 0
ORDER BY spread.rise + spread.fall, spread.rise DESC, model;

-- All models and ghosts of a model's tree, by heaviest parents: (model, parent, depth, relation, confidence).
CREATE OR REPLACE MACRO tree_of(m) AS TABLE
SELECT n.name AS model, p.name AS parent, k.depth, e.relation, e.confidence
FROM store.place k
JOIN store.named n USING (node_id)
LEFT JOIN store.edge e ON e.child_id = k.node_id AND e.is_heaviest
LEFT JOIN store.named p ON p.node_id = e.parent_id
WHERE k.cluster_id IN (SELECT x.cluster_id FROM store.place x JOIN store.named y USING (node_id) WHERE y.name = m)
ORDER BY k.depth, model;
