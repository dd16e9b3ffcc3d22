SELECT * FROM habits
