DELETE FROM store.replaced_edge
