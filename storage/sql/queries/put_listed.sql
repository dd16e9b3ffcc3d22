-- What a listing page shows; config.json's facts are kept where an earlier read of the same revision found them.
INSERT OR REPLACE INTO store.listed
SELECT
    n.hub_id, n.repo_id, n.revision, n.created_at, n.last_modified, n.library, n.pipeline_tag, n.licence, n.downloads, n.likes, n.gated,
    n.disabled, n.tags, n.declared_bases, n.declared_relations, n.weight_files,
    coalesce(n.model_type, o.model_type), coalesce(n.model_class, o.model_class), $sweep_id
FROM (
    SELECT
        unnest($hub_id) AS hub_id, unnest($repo_id) AS repo_id, unnest($revision) AS revision, unnest($created_at::TIMESTAMP[]) AS created_at,
        unnest($last_modified::TIMESTAMP[]) AS last_modified, unnest($library::VARCHAR[]) AS library,
        unnest($pipeline_tag::VARCHAR[]) AS pipeline_tag, unnest($licence::VARCHAR[]) AS licence, unnest($downloads) AS downloads,
        unnest($likes) AS likes, unnest($gated) AS gated, unnest($disabled) AS disabled, unnest($tags::VARCHAR[][]) AS tags,
        unnest($declared_bases::VARCHAR[][]) AS declared_bases, unnest($declared_relations::VARCHAR[][]) AS declared_relations,
        unnest($weight_files::VARCHAR[][]) AS weight_files, unnest($model_type::VARCHAR[]) AS model_type,
        unnest($model_class::VARCHAR[]) AS model_class
) n
LEFT JOIN store.listed o ON o.hub_id = n.hub_id AND o.revision = n.revision
