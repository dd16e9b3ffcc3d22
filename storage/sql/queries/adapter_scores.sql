SELECT adapter_id, base_id, score, units FROM store.adapter_score
