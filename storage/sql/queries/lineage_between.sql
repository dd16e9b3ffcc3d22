SELECT model FROM lineage($a, $b)
