INSERT INTO store.alternative SELECT unnest($child_id::VARCHAR[]), unnest($parent_id::VARCHAR[]), unnest($odds::DOUBLE[])
