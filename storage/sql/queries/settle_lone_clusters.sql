UPDATE store.cluster SET evidence = 'exact' WHERE size = 1 AND evidence = 'none'
