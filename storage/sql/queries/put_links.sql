INSERT INTO store.link
SELECT $plan_id, least(a, b), greatest(a, b), score
FROM (SELECT unnest($left_id::VARCHAR[]) AS a, unnest($right_id::VARCHAR[]) AS b, unnest($score::DOUBLE[]) AS score)
