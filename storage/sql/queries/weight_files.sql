SELECT weight_files FROM store.listed WHERE repo_id = $name
