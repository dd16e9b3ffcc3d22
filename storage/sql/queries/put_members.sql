INSERT OR REPLACE INTO store.member SELECT unnest($hub_id::VARCHAR[]), unnest($cluster_id::VARCHAR[]), NULL, NULL
