INSERT INTO store.plan (plan_id, architecture, budget_weights, version, names, row_start, row_count, tensor_rows, cols)
VALUES ($plan_id, $architecture, $budget_weights, $plan_version, $names, $row_start, $row_count, $tensor_rows, $cols)
ON CONFLICT DO NOTHING
