INSERT OR REPLACE INTO store.adapter_score VALUES ($adapter_id, $base_id, $adapter_revision, $base_revision, $score, $units)
