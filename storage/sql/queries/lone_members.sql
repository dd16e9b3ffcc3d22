-- Models with no kin that recover has yet to place.
SELECT m.hub_id FROM store.member m JOIN store.cluster c USING (cluster_id) WHERE c.size = 1 AND c.evidence = 'none'
