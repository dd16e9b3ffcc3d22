INSERT OR IGNORE INTO store.layout
SELECT
    unnest($layout_id::VARCHAR[]), unnest($names::VARCHAR[][]), unnest($rows::BIGINT[][]), unnest($cols::BIGINT[][]), unnest($ranks::BIGINT[][]),
    unnest($dora::BOOLEAN[][])
