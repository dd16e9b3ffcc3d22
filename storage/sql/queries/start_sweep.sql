INSERT INTO store.sweep (sweep_id, next_cursor, finished, kind, scope, down_to)
SELECT coalesce(max(sweep_id), 0) + 1, NULL, FALSE, $kind, $scope, $down_to FROM store.sweep
RETURNING sweep_id
