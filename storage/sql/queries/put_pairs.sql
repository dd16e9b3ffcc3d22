INSERT INTO store.pair
SELECT
    unnest($left_id::VARCHAR[]), unnest($right_id::VARCHAR[]), $evidence, unnest($l_ft::DOUBLE[]), unnest($l_lora::DOUBLE[]),
    unnest($l_lora_sum::DOUBLE[]), unnest($l1::DOUBLE[]), unnest($l2_squared::DOUBLE[]), unnest($norm_squared::DOUBLE[]),
    unnest($changed_share::DOUBLE[]), unnest($step_cost::DOUBLE[]), unnest($direction::DOUBLE[])
