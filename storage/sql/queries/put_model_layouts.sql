INSERT OR REPLACE INTO store.model_layout
SELECT
    unnest($hub_id::VARCHAR[]), unnest($revision::VARCHAR[]), unnest($layout_id::VARCHAR[]), unnest($is_adapter::BOOLEAN[]),
    unnest($configured_base::VARCHAR[])
