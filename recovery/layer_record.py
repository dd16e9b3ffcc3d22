"""What pairs say layer by layer, noted while the layers pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recovery.adapted import adapter_share, module_of, touched_kinds
from recovery.layer_evidence import LayerVerdict
from storage.types import BoolArray, ComparableTensor, FloatArray, LayerDistances, LayerEvidence, WeightArray

PARTS = 32
"""Units of resampling: enough for shares of support to the percent, few enough for a hundred thousand pairs."""
LARGEST_RANK = np.iinfo(np.int16).max


@dataclass(slots=True)
class LayerRecord:
    """Ranks of every layer, and step costs and directions of neighbouring layers of the key summed into parts."""

    names: tuple[str, ...]
    part: dict[str, int]  # of each layer of the key
    step_cost: WeightArray  # (pairs, parts)
    direction: WeightArray  # (pairs, parts)
    square: BoolArray  # (layers,)
    weights: FloatArray  # (layers,) of a member
    sides: tuple[int, ...]  # (layers,) the smaller one
    keeps_distances: bool
    ranks: list[np.ndarray] = field(default_factory=list)  # (pairs,) int16 for each layer seen
    finer_ranks: list[np.ndarray] = field(default_factory=list)  # the same, above the finer model's rounding
    touched: list[BoolArray] = field(default_factory=list)  # (pairs,) for each layer seen
    distances: list[list[WeightArray]] = field(default_factory=list)  # largest, smallest, square of each layer seen

    @classmethod
    def over(cls, layers: Sequence[ComparableTensor], pairs: int, *, keeps_distances: bool) -> "LayerRecord":
        """Of layers that have yet to come, in this order."""
        key = [layer.name for layer in layers if layer.in_key]
        parts = min(PARTS, len(key))
        part = {name: place * parts // len(key) for place, name in enumerate(key)}
        empty = np.zeros((pairs, parts), dtype=np.float32)
        return cls(
            names=tuple(layer.name for layer in layers),
            part=part,
            step_cost=empty,
            direction=empty.copy(),
            square=np.array([layer.rows == layer.cols for layer in layers]),
            weights=np.array([layer.rows * layer.cols for layer in layers], dtype=np.float64),
            sides=tuple(min(layer.rows, layer.cols) for layer in layers),
            keeps_distances=keeps_distances,
        )

    def add(self, verdicts: Sequence[LayerVerdict], layer: ComparableTensor) -> None:
        """Notes one layer, whose verdicts come in the order of the pairs."""
        self.ranks.append(np.minimum(joined(verdicts, "rank"), LARGEST_RANK).astype(np.int16))
        self.finer_ranks.append(np.minimum(joined(verdicts, "finer_rank"), LARGEST_RANK).astype(np.int16))
        self.touched.append(joined(verdicts, "changed") > 0)
        if self.keeps_distances:
            columns = ("largest", "smallest", "l2_squared")
            self.distances.append([joined(verdicts, name).astype(np.float32) for name in columns])
        if layer.name in self.part:
            self.step_cost[:, self.part[layer.name]] += joined(verdicts, "step_cost").astype(np.float32)
            self.direction[:, self.part[layer.name]] += joined(verdicts, "direction").astype(np.float32)

    def evidence(self, *, mixed: BoolArray) -> tuple[LayerEvidence, BoolArray]:
        """Once all layers have been added; and for every pair whether its difference is that of a merged adapter.

        `mixed` (pairs,) says whose formats differ. Ranks are those above the rounding of both models, or above that of
        the finer one alone where these agree better, as an adapter's do.
        """
        both, finer = (np.stack(ranks, axis=1) for ranks in (self.ranks, self.finer_ranks))
        kinds = [module_of(name) for name in self.names]
        changed = np.stack(self.touched, axis=1)
        touched, touched_finer = (np.where(mixed[:, None], touched_kinds(r, kinds), changed) for r in (both, finer))
        share, share_finer = adapter_share(both, touched, self.sides), adapter_share(finer, touched_finer, self.sides)
        chosen = (share_finer > share)[:, None]
        ranks, touched = np.where(chosen, finer, both), np.where(chosen, touched_finer, touched)
        layers = LayerEvidence(
            self.names, self.sides, ranks, touched, self.step_cost, self.direction, self._distances()
        )
        return layers, np.maximum(share, share_finer) > 0

    def _distances(self) -> LayerDistances | None:
        if not self.keeps_distances:
            return None
        largest, smallest, squared = (np.stack(column, axis=1) for column in zip(*self.distances, strict=True))
        return LayerDistances(self.square, largest, smallest, (squared / self.weights).astype(np.float32))


def joined(verdicts: Sequence[LayerVerdict], name: str) -> FloatArray:
    """One field of the verdicts of a layer's batches, float64 (pairs,)."""
    parts = [getattr(verdict, name).to("cpu").numpy().astype(np.float64) for verdict in verdicts]
    return np.concatenate(parts) if parts else np.zeros(0)
