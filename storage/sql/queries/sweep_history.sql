-- What finished walks of a scope leave for the next ones. Marks are ISO texts of one zone, which sort as their times do.
WITH done AS (SELECT * FROM store.sweep WHERE finished AND scope = $scope)
SELECT
    (SELECT count(*) FROM store.listed),
    (SELECT max(hub_id) FROM store.listed),
    (SELECT max(finished_at) FROM done WHERE kind = 'full'),
    (SELECT mark FROM done WHERE kind <> 'created' ORDER BY sweep_id DESC LIMIT 1)
