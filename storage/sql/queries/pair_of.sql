SELECT * FROM pairs WHERE (model_a = $a AND model_b = $b) OR (model_a = $b AND model_b = $a)
