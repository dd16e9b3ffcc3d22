SELECT count(*) FROM store.cluster WHERE evidence = 'none'
