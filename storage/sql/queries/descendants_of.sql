SELECT model, 0 AS rise, depth AS fall FROM descendants($name)
