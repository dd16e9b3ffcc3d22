SELECT file_name, blocks FROM store.block_reading
WHERE hub_id = $hub_id AND revision = $revision AND plan_id = $plan_id AND make_id = $make_id
