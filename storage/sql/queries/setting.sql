SELECT value FROM store.setting WHERE name = $setting_name
