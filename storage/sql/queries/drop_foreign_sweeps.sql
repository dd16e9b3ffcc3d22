-- A stopped walk over another part of the Hub cannot go on as a walk over this one. NULL: stopped before scopes were recorded.
DELETE FROM store.sweep WHERE NOT finished AND coalesce(scope, $scope) <> $scope
