SELECT ghost_id FROM store.ghost WHERE cluster_id = $cluster_id
