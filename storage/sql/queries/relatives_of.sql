SELECT model, rise, fall FROM relatives($name)
