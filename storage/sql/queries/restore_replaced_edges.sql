-- Edges inside clusters in whose place others stood.
INSERT INTO store.edge SELECT * FROM store.replaced_edge
