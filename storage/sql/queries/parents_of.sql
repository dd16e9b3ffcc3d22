SELECT * FROM edges WHERE child = $name ORDER BY is_heaviest DESC, weight DESC, parent
