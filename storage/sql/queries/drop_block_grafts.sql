DELETE FROM store.edge WHERE is_graft AND relation <> 'adapter'
