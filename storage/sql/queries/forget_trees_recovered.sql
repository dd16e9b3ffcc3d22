-- What the recover step found holds for its settings only.
UPDATE store.cluster SET evidence = 'none'
