-- Ancestry questions by repository name. Recursion is in semi-join form: DuckDB 2.0 builds its hash table on the whole edge table
-- for a recursive join (tens of milliseconds at a million edges), not for IN. All rows of one round have equal depth.

-- Parents, grandparents, ... of a model, nearest first: (model, depth); depth 1 is the parent.
CREATE MACRO ancestors(m) AS TABLE
WITH RECURSIVE up (hub_id, depth) AS (
    SELECT hub_id, 0 FROM store.listed WHERE repo_id = m
    UNION ALL
    SELECT e.parent_id, (SELECT any_value(depth) FROM up) + 1 FROM store.edge e WHERE e.child_id IN (SELECT hub_id FROM up)
)
SELECT l.repo_id AS model, up.depth FROM up JOIN store.listed l USING (hub_id) WHERE up.depth > 0 ORDER BY up.depth;

-- Children, grandchildren, ... of a model: (model, depth); depth 1 are the children.
CREATE MACRO descendants(m) AS TABLE
WITH RECURSIVE down (hub_id, depth) AS (
    SELECT hub_id, 0 FROM store.listed WHERE repo_id = m
    UNION ALL
    SELECT e.child_id, (SELECT any_value(depth) FROM down) + 1 FROM store.edge e WHERE e.parent_id IN (SELECT hub_id FROM down)
)
SELECT l.repo_id AS model, down.depth FROM down JOIN store.listed l USING (hub_id) WHERE down.depth > 0 ORDER BY down.depth, model;

-- Models with the same parent: (model).
CREATE MACRO siblings(m) AS TABLE
SELECT l.repo_id AS model
FROM store.edge e
JOIN store.listed l ON l.hub_id = e.child_id
WHERE e.parent_id IN (SELECT x.parent_id FROM store.edge x JOIN store.listed y ON y.hub_id = x.child_id WHERE y.repo_id = m) AND l.repo_id <> m
ORDER BY model;

-- The nearest model that is, or is an ancestor of, both: (model), no row when they are in different trees.
CREATE MACRO common_ancestor(a, b) AS TABLE
SELECT x.model
FROM (SELECT model, depth FROM ancestors(a) UNION ALL SELECT repo_id, 0 FROM store.listed WHERE repo_id = a) x
JOIN (SELECT model, depth FROM ancestors(b) UNION ALL SELECT repo_id, 0 FROM store.listed WHERE repo_id = b) y USING (model)
ORDER BY x.depth LIMIT 1;

-- The path from a up to their common ancestor and down to b: (step, model), no row when they are in different trees.
CREATE MACRO lineage(a, b) AS TABLE
WITH meeting AS (SELECT model FROM common_ancestor(a, b)),
up AS (SELECT model, depth FROM ancestors(a) UNION ALL SELECT repo_id, 0 FROM store.listed WHERE repo_id = a),
down AS (SELECT model, depth FROM ancestors(b) UNION ALL SELECT repo_id, 0 FROM store.listed WHERE repo_id = b),
top AS (SELECT u.depth AS rise, d.depth AS fall FROM meeting JOIN up u USING (model) JOIN down d USING (model)),
path AS (
    SELECT depth AS step, model FROM up, top WHERE depth <= rise
    UNION ALL
    SELECT rise + fall - depth, model FROM down, top WHERE depth < fall
)
SELECT step, model FROM path ORDER BY step;

-- All kin of a model: (model, rise, fall); the path goes up `rise` edges to the nearest common ancestor and down `fall` edges.
CREATE MACRO relatives(m) AS TABLE
WITH RECURSIVE up (hub_id, rise) AS (
    SELECT hub_id, 0 FROM store.listed WHERE repo_id = m
    UNION ALL
    SELECT e.parent_id, (SELECT any_value(rise) FROM up) + 1 FROM store.edge e WHERE e.child_id IN (SELECT hub_id FROM up)
),
spread (hub_id, rise, fall) AS (
    SELECT hub_id, rise, 0 FROM up
    UNION ALL
    SELECT e.child_id, s.rise, s.fall + 1 FROM spread s JOIN store.edge e ON e.parent_id = s.hub_id WHERE e.child_id NOT IN (SELECT hub_id FROM up)
)
SELECT l.repo_id AS model, spread.rise, spread.fall
FROM spread
JOIN store.listed l USING (hub_id)
WHERE spread.rise + spread.fall > 0
ORDER BY spread.rise + spread.fall, spread.rise DESC, model;

-- All models of a model's tree: (model, parent, depth, relation, confidence).
CREATE MACRO tree_of(m) AS TABLE
SELECT x.repo_id AS model, x.parent, x.depth, x.relation, x.confidence
FROM models x
WHERE x.tree IN (SELECT y.tree FROM models y WHERE y.repo_id = m)
ORDER BY x.depth, model;
