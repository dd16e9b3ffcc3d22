-- What the index step found holds for its settings only.
UPDATE store.plan SET indexed_members = NULL
