INSERT INTO store.edge
SELECT
    unnest($child_id::VARCHAR[]), unnest($parent_id::VARCHAR[]), unnest($child_revision::VARCHAR[]), unnest($parent_revision::VARCHAR[]),
    unnest($relation::VARCHAR[]), unnest($confidence::DOUBLE[]), unnest($evidence::VARCHAR[])
