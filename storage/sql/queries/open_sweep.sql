-- The walk that a crawl goes on with, if one is unfinished.
SELECT sweep_id, next_cursor, kind, down_to FROM store.sweep WHERE NOT finished ORDER BY sweep_id DESC LIMIT 1
