"""Everything known of whether one model came through another, each question asked once."""

from collections.abc import Sequence

import numpy as np

from recovery.batch_counts import counted_passage
from recovery.kept_lines import line_nats
from recovery.passage import passage_nats
from recovery.sample import KeptWeights
from storage.types import FloatArray

Asked = tuple[int, int, int, bool]  # parent, through, model, whether `through` is a copy


class Passages:
    """Slopes, lines left alone and counted batches together, of nodes whose weights are kept.

    Trees are sought by asking again after every move, mostly the same; the answers depend on weights alone.
    """

    def __init__(self, kept: KeptWeights) -> None:
        self._kept = kept
        self._known: dict[Asked, float] = {}

    def nats(self, parent: int, through: int, models: Sequence[int], *, copied: bool = False) -> FloatArray:
        """Log odds (models,) that each came through `through` against directly from `parent`, as `passage_nats`."""
        unknown = [model for model in models if (parent, through, model, copied) not in self._known]
        if unknown:
            for model, nats in zip(unknown, self._asked(parent, through, unknown, copied=copied), strict=True):
                self._known[parent, through, model, copied] = float(nats)
        return np.array([self._known[parent, through, model, copied] for model in models])

    def _asked(self, parent: int, through: int, models: Sequence[int], *, copied: bool) -> FloatArray:
        nats = line_nats(self._kept, parent, through, models) + counted_passage(self._kept, parent, through, models)
        if {parent, through} & set(self._kept.noisy):
            return nats
        return nats + passage_nats(self._kept.sample, parent, through, models, copied=copied)
