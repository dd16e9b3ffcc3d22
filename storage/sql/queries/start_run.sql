INSERT INTO store.run (run_id, command, started_at, status, parameters)
VALUES ($run_id, $command, $started_at, 'running', $parameters)
