-- Models that hold every word in what is known of them; names that hold the whole text first, then the most downloaded.
WITH words AS (SELECT list_filter(string_split(lower($text), ' '), lambda w: w <> '') AS wanted),
described AS (
    SELECT m.*, lower(concat_ws(' ', repo_id, model_class, model_type, architecture, pipeline_tag, library, licence, array_to_string(tags, ' '))) AS known
    FROM models m
)
SELECT d.* EXCLUDE (known), count(*) OVER () AS found
FROM described d, words
WHERE coalesce(list_bool_and(list_transform(words.wanted, lambda w: contains(d.known, w))), true)
ORDER BY contains(lower(d.repo_id), lower($text)) DESC, d.downloads DESC, d.repo_id
LIMIT $most
