SELECT ghost_id FROM store.ghost WHERE ghost_id = $name
