UPDATE store.cluster SET evidence = $evidence WHERE cluster_id = $cluster_id
