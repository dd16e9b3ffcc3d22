SELECT model FROM common_ancestor($a, $b)
