"""Training of small models for the project's own sets: architectures, data, objectives."""
