DELETE FROM store.layout WHERE layout_id NOT IN (SELECT layout_id FROM store.model_layout)
