-- The walk that a crawl goes on with, if one is unfinished.
SELECT sweep_id, next_cursor FROM store.sweep WHERE NOT finished ORDER BY sweep_id DESC LIMIT 1
