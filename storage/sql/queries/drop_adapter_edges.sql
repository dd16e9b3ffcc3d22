DELETE FROM store.edge WHERE relation = 'adapter'
