-- The tables of the data model (docs/data-model.md): what analysts query.

-- A row is one model whose weights were read, with its place in the Model Graph.
CREATE VIEW models AS
SELECT
    l.repo_id, f.revision, l.hub_id, c.tree_id AS tree, p.repo_id AS parent, e.relation, e.confidence, e.evidence, m.depth, m.root_posterior,
    l.model_class, l.model_type, substr(pl.architecture, 1, 12) AS architecture, f.dtype, f.parameters, l.library, l.pipeline_tag,
    l.licence, l.tags, l.declared_bases, l.declared_relations, l.downloads, l.likes, l.gated, l.created_at, l.last_modified,
    f.weights_sha256, f.header_bytes, f.sampled_bytes, f.resolver_requests
FROM store.fingerprint f
JOIN store.listed l USING (hub_id)
JOIN store.plan pl USING (plan_id)
LEFT JOIN store.member m USING (hub_id)
LEFT JOIN (SELECT cluster_id, min(hub_id) AS tree_id FROM store.member GROUP BY cluster_id) c USING (cluster_id)
LEFT JOIN store.edge e ON e.child_id = f.hub_id
LEFT JOIN store.listed p ON p.hub_id = e.parent_id;

-- A row is one current edge: `child` was made from `parent`.
CREATE VIEW edges AS
SELECT
    p.repo_id AS parent, c.repo_id AS child, e.relation, e.confidence, e.evidence, t.tree_id AS tree, e.parent_revision, e.child_revision,
    q.step_cost, q.changed_share, q.l1, q.l2_squared, q.norm_squared, q.l_ft, q.l_lora, q.l_lora_sum,
    CASE WHEN q.left_id = e.parent_id THEN q.direction ELSE -q.direction END AS direction_nats
FROM store.edge e
JOIN store.listed p ON p.hub_id = e.parent_id
JOIN store.listed c ON c.hub_id = e.child_id
JOIN store.member m ON m.hub_id = e.child_id
JOIN (SELECT cluster_id, min(hub_id) AS tree_id FROM store.member GROUP BY cluster_id) t USING (cluster_id)
LEFT JOIN store.pair q
    ON q.left_id = least(e.parent_id, e.child_id) AND q.right_id = greatest(e.parent_id, e.child_id);

-- A row is one model and one of its ancestors, `depth` edges above it; depth 1 is the parent.
CREATE VIEW ancestry AS
WITH RECURSIVE up (child_id, ancestor_id, depth) AS (
    SELECT child_id, parent_id, 1 FROM store.edge
    UNION
    SELECT up.child_id, e.parent_id, up.depth + 1 FROM up JOIN store.edge e ON e.child_id = up.ancestor_id
)
SELECT c.repo_id AS model, a.repo_id AS ancestor, up.depth
FROM up
JOIN store.listed c ON c.hub_id = up.child_id
JOIN store.listed a ON a.hub_id = up.ancestor_id;

-- A row is one edge over the runs in which it stood.
CREATE VIEW edge_history AS
SELECT parent, child, relation, confidence, evidence, parent_revision, child_revision, valid_from_run, valid_to_run
FROM store.edge_history;

-- A row is one Model Tree; a model with no kin in the index is a tree of one.
CREATE VIEW trees AS
SELECT
    min(m.hub_id) AS tree, any_value(l.repo_id) FILTER (m.depth = 0) AS root, count(*) AS models, max(m.depth) AS depth,
    any_value(m.root_posterior) FILTER (m.depth = 0) AS root_posterior, any_value(c.evidence) AS evidence,
    substr(any_value(p.architecture), 1, 12) AS architecture, any_value(l.model_class) FILTER (m.depth = 0) AS model_class
FROM store.member m
JOIN store.listed l USING (hub_id)
JOIN store.cluster c USING (cluster_id)
JOIN store.plan p USING (plan_id)
GROUP BY m.cluster_id;

-- A row is one compared pair of models; `direction_nats` > 0 speaks for `model_a` being the parent.
CREATE VIEW pairs AS
SELECT
    a.repo_id AS model_a, b.repo_id AS model_b, q.evidence, k.score AS relatedness, q.step_cost, q.direction AS direction_nats, q.changed_share, q.l1,
    q.l2_squared, q.norm_squared, q.l_ft, q.l_lora, q.l_lora_sum
FROM store.pair q
JOIN store.listed a ON a.hub_id = q.left_id
JOIN store.listed b ON b.hub_id = q.right_id
LEFT JOIN store.link k ON least(k.left_id, k.right_id) = q.left_id AND greatest(k.left_id, k.right_id) = q.right_id;

-- A row is one layer of one model; kurtosis is Eq. 3 of the MoTHer paper (a normal distribution has 3).
CREATE VIEW moments AS
SELECT
    l.repo_id, m.evidence, m.layer, m.weight_count, m.mean, m.variance, m.skewness, m.kurtosis, m.entropy, m.minimum, m.maximum, m.zeros
FROM store.moment m
JOIN store.listed l USING (hub_id);

-- A row is one command that wrote to the index.
CREATE VIEW runs AS
SELECT run_id, command, started_at, finished_at, status, parameters::JSON AS parameters, counts::JSON AS counts FROM store.run;

-- A row is one listed model that was left out: at which stage and why.
CREATE VIEW skips AS
SELECT repo_id, revision, hub_id, stage, reason, detail, retry FROM store.skip;

-- A row is one model that was read and what its card says about its parent beside what the weights say.
-- verdict: agrees (the recovered parent is declared), ancestor (a declared base is further up), kin (same tree, not above it),
-- contradicts (the declared base is in the index, in another tree), unknown_base (it is not in the index),
-- itself (it names its own model), silent (nothing declared).
-- The macro judges some models without the closure of the whole forest: only ancestors of models with a claim are walked.
CREATE MACRO card_audit_of(names) AS TABLE
WITH RECURSIVE claim AS (
    SELECT l.hub_id, unnest(l.declared_bases) AS base
    FROM store.listed l
    JOIN store.fingerprint f USING (hub_id)
    WHERE l.repo_id IN (SELECT unnest(names::VARCHAR[]))
),
up (hub_id, ancestor_id, depth) AS (
    SELECT e.child_id, e.parent_id, 1 FROM store.edge e WHERE e.child_id IN (SELECT hub_id FROM claim)
    UNION ALL
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

CREATE VIEW card_audit AS
SELECT * FROM card_audit_of((SELECT list(repo_id) FROM models));
