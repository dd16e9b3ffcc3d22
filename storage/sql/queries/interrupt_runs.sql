UPDATE store.run SET status = 'interrupted' WHERE status = 'running'
