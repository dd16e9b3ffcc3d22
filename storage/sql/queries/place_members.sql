UPDATE store.member SET depth = p.depth, root_posterior = p.root_posterior
FROM (
    SELECT unnest($hub_id::VARCHAR[]) AS hub_id, unnest($depth::BIGINT[]) AS depth, unnest($root_posterior::DOUBLE[]) AS root_posterior
) p
WHERE member.hub_id = p.hub_id
