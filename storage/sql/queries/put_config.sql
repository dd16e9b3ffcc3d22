-- What config.json told where the listing did not.
UPDATE store.listed SET model_type = c.model_type, model_class = c.model_class
FROM (SELECT unnest($hub_id) AS hub_id, unnest($model_type::VARCHAR[]) AS model_type, unnest($model_class::VARCHAR[]) AS model_class) c
WHERE listed.hub_id = c.hub_id
