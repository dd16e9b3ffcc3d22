-- What is left of a merge whose heaviest parent is gone says nothing until its cluster is recovered.
DELETE FROM store.edge WHERE child_id NOT IN (SELECT child_id FROM store.edge WHERE is_heaviest)
