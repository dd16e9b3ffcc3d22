SELECT model, depth AS rise, 0 AS fall FROM ancestors($name)
