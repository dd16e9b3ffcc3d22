SELECT architecture, budget_weights, version, names, row_start, row_count, tensor_rows, cols FROM store.plan WHERE plan_id = $plan_id
