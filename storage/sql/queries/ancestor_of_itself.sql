-- Depths rule out a cycle of heaviest parents, so that every cycle goes through a lesser one. UNION ends the walk on a cycle.
WITH RECURSIVE up (child_id, ancestor_id) AS (
    SELECT child_id, parent_id FROM store.edge WHERE NOT is_heaviest
    UNION
    SELECT up.child_id, e.parent_id FROM up JOIN store.edge e ON e.child_id = up.ancestor_id
)
SELECT n.name FROM up JOIN store.named n ON n.node_id = up.child_id WHERE up.ancestor_id = up.child_id ORDER BY ALL
