"""The weights of a cluster's members, whose failures say which member it was."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from storage.errors import ModelUnreadable
from storage.graph_records import ClusterMembers
from storage.types import ComparableTensor, TensorSource, WeightArray

Opener = Callable[[str, str, Sequence[str]], TensorSource]
"""Opens the weights of one model: repository, revision, weight files by the listing."""


class MemberUnreadableError(Exception):
    """Reading one member of a cluster failed: which, and why."""

    def __init__(self, place: int, cause: ModelUnreadable) -> None:
        super().__init__(cause.detail)
        self.place = place
        self.cause = cause


@dataclass(frozen=True, slots=True)
class MemberSource:
    """The weights of one member, whose failures say which member it was."""

    source: TensorSource
    place: int

    @classmethod
    def open(cls, opener: Opener, cluster: ClusterMembers, place: int) -> Self:
        """Opens member `place`. Raises `MemberUnreadableError`."""
        try:
            revision = cluster.members.revisions[place]
            return cls(opener(cluster.repo_ids[place], revision, cluster.weight_files[place]), place)
        except ModelUnreadable as error:
            raise MemberUnreadableError(place, error) from error

    @property
    def tensors(self) -> Mapping[str, ComparableTensor]:
        """Comparable tensors by canonical name."""
        return self.source.tensors

    def read(self, name: str, start: int, stop: int) -> WeightArray:
        """Rows of a tensor, all finite. Raises `MemberUnreadableError`."""
        try:
            return finite(self.source.read(name, start, stop), name)
        except ModelUnreadable as error:
            raise MemberUnreadableError(self.place, error) from error

    def batch_counts(self) -> Mapping[str, int]:
        """Batches by the names of counters. Raises `MemberUnreadableError`."""
        try:
            return self.source.batch_counts()
        except ModelUnreadable as error:
            raise MemberUnreadableError(self.place, error) from error

    def gains(self) -> Mapping[str, WeightArray]:
        """Gains and biases by name. Raises `MemberUnreadableError`."""
        try:
            return self.source.gains()
        except ModelUnreadable as error:
            raise MemberUnreadableError(self.place, error) from error


def finite(rows: WeightArray, name: str) -> WeightArray:
    """The rows of a tensor. Raises `ModelUnreadable` where they hold NaN or infinite weights."""
    if not np.isfinite(rows).all():
        raise ModelUnreadable("non_finite_weights", f"tensor {name} holds NaN or infinite weights")
    return rows
