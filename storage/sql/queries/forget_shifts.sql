DELETE FROM store.shift
