"""The settings of the index stage: how many neighbours are looked at, and how large an index may become."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What the index stage may be told; nothing here changes who is kin but `index_models`, through the threshold."""

    neighbours: int = 16
    """Nearest neighbours tested per model, and kept per member of a large cluster."""

    dimensions: int = 1024
    """Length of an embedding; its cosines carry a noise of 1 / sqrt(dimensions)."""

    all_pairs_members: int = 64
    """Clusters of up to so many members are compared pair by pair, larger ones among nearest neighbours."""

    index_models: int = 10_000_000
    """Size of index in which less than one false link is expected; a constant, so that results never depend on the
    number of models that happen to be indexed."""
