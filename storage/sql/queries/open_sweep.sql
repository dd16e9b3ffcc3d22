-- The walk of a scope that a crawl goes on with, if one is unfinished. NULL: it was stopped before scopes were recorded.
SELECT sweep_id, next_cursor, kind, down_to FROM store.sweep
WHERE NOT finished AND coalesce(scope, $scope) = $scope
ORDER BY sweep_id DESC
LIMIT 1
