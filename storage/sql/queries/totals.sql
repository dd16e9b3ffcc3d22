SELECT
    (SELECT count(*) FROM store.fingerprint) AS models, (SELECT count(*) FROM store.cluster) AS trees,
    (SELECT count(*) FROM store.edge) AS edges, (SELECT count(*) FROM store.skip) AS skips
