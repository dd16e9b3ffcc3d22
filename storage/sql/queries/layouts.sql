SELECT y.layout_id, y.names, y.rows, y.cols, y.ranks, y.dora
FROM store.layout y
WHERE y.layout_id IN (SELECT layout_id FROM store.model_layout WHERE is_adapter = $is_adapter)
ORDER BY y.layout_id
