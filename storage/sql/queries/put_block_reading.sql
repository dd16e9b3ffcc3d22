INSERT OR REPLACE INTO store.block_reading VALUES ($hub_id, $revision, $plan_id, $make_id, $file_name, $blocks)
