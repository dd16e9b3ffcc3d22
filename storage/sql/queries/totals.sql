SELECT
    (SELECT count(*) FROM store.fingerprint) AS models, (SELECT count(DISTINCT cluster_id) FROM store.place) AS trees,
    (SELECT count(*) FROM store.edge) AS edges, (SELECT count(*) FROM store.skip) AS skips
