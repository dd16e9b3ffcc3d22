INSERT INTO store.edge
SELECT
    unnest($child_id::VARCHAR[]), unnest($parent_id::VARCHAR[]), unnest($child_revision::VARCHAR[]), unnest($parent_revision::VARCHAR[]),
    unnest($relation::VARCHAR[]), unnest($confidence::DOUBLE[]), $evidence, unnest($weight::DOUBLE[]), unnest($support::DOUBLE[]),
    unnest($details::VARCHAR[]), unnest($is_heaviest::BOOLEAN[]), $is_graft
