"""The composition root: configuration, pipeline, command line, demo. Imported by no other package."""

__version__ = "0.1.0"
