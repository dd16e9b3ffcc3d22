SELECT parent_id || ' -> ' || child_id FROM store.edge WHERE NOT (weight > 0 AND isfinite(weight)) ORDER BY ALL
