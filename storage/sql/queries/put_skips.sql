INSERT OR REPLACE INTO store.skip
SELECT
    unnest($hub_id), unnest($repo_id), unnest($revision), unnest($stage), unnest($reason), unnest($detail), unnest($retry), $sweep_id
