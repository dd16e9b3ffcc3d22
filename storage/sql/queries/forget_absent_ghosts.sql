-- A ghost was asked for by the evidence of one cluster: it goes with it.
DELETE FROM store.ghost WHERE cluster_id NOT IN (SELECT cluster_id FROM store.cluster)
