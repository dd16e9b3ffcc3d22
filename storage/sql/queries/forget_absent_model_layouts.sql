DELETE FROM store.model_layout WHERE hub_id NOT IN (SELECT hub_id FROM store.fingerprint)
