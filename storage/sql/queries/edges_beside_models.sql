-- What the rows of `models` do not tell: edges from lesser parents of merges, and to ghosts.
SELECT *
FROM edges
WHERE (NOT is_heaviest OR child IN (SELECT ghost_id FROM store.ghost)) AND tree IN (SELECT unnest($trees::VARCHAR[]))
ORDER BY tree, child, is_heaviest DESC, weight DESC, parent
