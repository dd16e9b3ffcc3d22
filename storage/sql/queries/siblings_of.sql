SELECT model, 1 AS rise, 1 AS fall FROM siblings($name)
