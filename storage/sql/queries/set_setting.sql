INSERT OR REPLACE INTO store.setting VALUES ($setting_name, $setting_value)
