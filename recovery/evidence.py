"""All evidence of a cluster in one pass over the bytes of its members."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from recovery.batch_counts import batches_of
from recovery.copies import CopySearch, CopyVerdict
from recovery.decay import DecayRecord
from recovery.filled_ranks import AskedAgain, ask_filled_ranks
from recovery.gains import gains_of
from recovery.heads import head_nats
from recovery.layer_evidence import LayerVerdict
from recovery.layer_record import LayerRecord, joined
from recovery.moments import LayerMoments
from recovery.passes import PlannedLayer, comparison_of, planned_layer, planned_reads, stored_bytes
from recovery.reading import TileReader
from recovery.sample import SampleRecord
from recovery.schedule import loops_pay
from recovery.settings import EvidenceSettings
from recovery.tuned_gains import changed_gains, changed_heads
from recovery.workers import workers_for
from storage.errors import UsageError
from storage.types import (
    FLOAT_DTYPE_BYTES,
    UNIT_ROUNDOFF,
    BoolArray,
    ClusterEvidence,
    ComparableTensor,
    FloatArray,
    PairEvidence,
    Pairs,
    SamplePlan,
    TensorSource,
    TensorSpec,
    WeightArray,
    WeightMoments,
)


@dataclass(frozen=True, slots=True)
class FingerprintSource:
    """A fingerprint as a source of weights: each block of its plan is a tensor.

    So provisional and exact trees come from the same code. `values` (plan.weights,) float32; `dtype` is the stored
    format of the sampled weights.
    """

    values: WeightArray = field(repr=False)
    plan: SamplePlan
    dtype: str

    @property
    def tensors(self) -> Mapping[str, ComparableTensor]:
        """The plan's blocks by name; their offsets count from the beginning of the fingerprint, in stored bytes."""
        plan, size = self.plan, FLOAT_DTYPE_BYTES[self.dtype]
        ends = plan.offsets * size
        blocks = zip(plan.names, plan.row_count.tolist(), plan.cols.tolist(), ends[:-1], ends[1:], strict=True)
        return {
            name: ComparableTensor(
                name, rows, cols, in_key=True, spec=TensorSpec(name, self.dtype, (rows, cols), "", int(begin), int(end))
            )
            for name, rows, cols, begin, end in blocks
        }

    def read(self, name: str, start: int, stop: int) -> WeightArray:
        """Rows `start:stop` of a block (stop - start, cols)."""
        block = self.plan.names.index(name)
        cols = int(self.plan.cols[block])
        first = int(self.plan.offsets[block])
        return self.values[first + start * cols : first + stop * cols].reshape(-1, cols)

    def batch_counts(self) -> Mapping[str, int]:
        """Nothing: weights alone are sampled."""
        return {}

    def gains(self) -> Mapping[str, WeightArray]:
        """Nothing: matrices alone are sampled."""
        return {}


def gather(sources: Sequence[TensorSource], pairs: Pairs, settings: EvidenceSettings) -> ClusterEvidence:
    """Compares the wanted pairs of a cluster over the layers all its members share, and measures every member.

    Layers outside the architecture's key are measured, but do not vote on steps and directions.
    Each layer of all members is read once and dropped after use; one that does not fit in `settings.memory_bytes`
    passes in tiles of rows with the same result, and a few may be read again for ranks that need more rows
    (`recovery.filled_ranks`). Layers are shared where name, rows and columns agree.
    Raises `UsageError` where nothing is shared, `ModelUnreadable` as the sources do or where a weight is no finite
    number; the latter untouched, since the caller knows which member it was.
    """
    layers = shared_layers(sources)
    if not layers:
        raise UsageError("these models share no layer of the same name and shape: compare models of one architecture")
    seen = _Seen.nothing(layers, sources, pairs, settings)
    settings = replace(settings, memory_bytes=max(1, settings.memory_bytes - seen.nbytes))
    planned = _pass_layers(layers, sources, pairs, settings, seen)
    again = ask_filled_ranks(planned, sources, pairs, seen.by_layer, settings)
    seen.totals.correct_ranks(again, seen.by_layer)
    bytes_read = sum(stored_bytes(layer, sources) for layer in layers) + again.bytes_read
    return seen.evidence(layers, sources, pairs, bytes_read=bytes_read)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of sources, and noted while their layers pass; filled in place."""

    held: Sequence[Mapping[str, WeightArray]]  # gains and biases of each member
    gains: tuple[WeightArray, ...]  # what training has moved of them
    copies: CopySearch
    decay: DecayRecord
    sample: SampleRecord
    totals: "_PairTotals"
    by_layer: LayerRecord
    moments: list[LayerMoments]

    @classmethod
    def nothing(
        cls,
        layers: Sequence[ComparableTensor],
        sources: Sequence[TensorSource],
        pairs: Pairs,
        settings: EvidenceSettings,
    ) -> "_Seen":
        """Before the first layer."""
        count, held = len(pairs.left), [source.gains() for source in sources]
        return cls(
            held=held,
            gains=gains_of(held),
            copies=CopySearch.over(pairs.left, pairs.right),
            decay=DecayRecord.empty(count),
            sample=SampleRecord.over(layers, len(sources), budget_weights=settings.sample_weights),
            totals=_PairTotals.empty(count),
            by_layer=LayerRecord.over(layers, count, keeps_distances=settings.layer_distances),
            moments=[],
        )

    @property
    def nbytes(self) -> int:
        """What stays in memory beside the layers."""
        vectors = [*self.gains, *(values for by_name in self.held for values in by_name.values())]
        return self.sample.nbytes + sum(values.nbytes for values in vectors)

    def note(self, layer: ComparableTensor, moments: LayerMoments, verdicts: Sequence[LayerVerdict]) -> None:
        """Adds what one layer says of members and pairs."""
        self.moments.append(moments)
        self.totals.add(verdicts, layer)
        self.decay.add([verdict.shrinking for verdict in verdicts])
        self.by_layer.add(verdicts, layer)

    def evidence(
        self,
        layers: Sequence[ComparableTensor],
        sources: Sequence[TensorSource],
        pairs: Pairs,
        *,
        bytes_read: int,
    ) -> ClusterEvidence:
        """Once all layers have passed."""
        roundoff = np.array([_roundoff(source, layers) for source in sources])
        of_layers, low_rank = self.by_layer.evidence(mixed=roundoff[pairs.left] != roundoff[pairs.right])
        decay, heads, weights = self.decay.nats(), head_nats(sources, pairs), _weights(layers)
        copies = self.copies.verdict()
        return ClusterEvidence(
            members=len(sources),
            pairs=self.totals.evidence(pairs, copies, low_rank, decay=decay, heads=heads, weights=weights),
            moments=_weight_moments(layers, self.moments),
            bytes_read=bytes_read,
            layers=of_layers,
            sample=tuple(self.sample.blocks.values()),
            tables=tuple(self.sample.tables.values()),
            sample_names=tuple(self.sample.blocks),
            roundoff=tuple(roundoff.tolist()),
            batches=batches_of(sources),
            gains=self.gains,
            gains_changed=changed_gains(self.held, pairs, self.totals.changed == 0),
            heads_changed=changed_heads(sources, pairs, self.totals.changed == 0),
        )


def _pass_layers(
    layers: Sequence[ComparableTensor],
    sources: Sequence[TensorSource],
    pairs: Pairs,
    settings: EvidenceSettings,
    seen: _Seen,
) -> list[PlannedLayer]:
    """Compares all layers, the next tile being read meanwhile; gives how they passed."""
    count, on_processor = len(pairs.left), settings.device == "cpu"
    loops = on_processor and loops_pay(len(sources), count, _weights(layers))
    with workers_for(len(sources), settings.device) as workers:
        planned = [
            planned_layer(layer, sources, count, settings, threads=workers.count, loops=loops) for layer in layers
        ]
        reads = planned_reads(planned, settings.memory_bytes)
        with TileReader(sources, reads, settings.read_weights, counts=on_processor) as reader:
            for plan in planned:
                comparison = comparison_of(plan, reader, pairs, settings, workers=workers)
                seen.note(plan.layer, *comparison.run(seen.copies, seen.sample))
    return planned


def shared_layers(sources: Sequence[TensorSource]) -> list[ComparableTensor]:
    """The tensors, as the first source describes them, whose name, rows and columns all sources share; by name."""
    shapes = [{(t.name, t.rows, t.cols) for t in source.tensors.values()} for source in sources]
    shared = set.intersection(*shapes)
    return [t for _, t in sorted(sources[0].tensors.items()) if (t.name, t.rows, t.cols) in shared]


@dataclass(frozen=True, slots=True)
class _PairTotals:
    """Sums (and maxima) over layers, (pairs,) each, added in place."""

    l_ft: FloatArray
    l_lora: FloatArray
    l_lora_sum: FloatArray
    l1: FloatArray
    l2_squared: FloatArray
    norm_squared: FloatArray
    changed: FloatArray
    step_cost: FloatArray
    direction: FloatArray

    @classmethod
    def empty(cls, pairs: int) -> "_PairTotals":
        return cls(*(np.zeros(pairs) for _ in range(9)))

    def add(self, verdicts: Sequence[LayerVerdict], layer: ComparableTensor) -> None:
        """Adds one layer, whose verdicts come in the order of the pairs.

        Only layers in the key say which step was likely and which way it went. A lookup table breaks the model of a
        step: a row moves when its token occurs and only decays otherwise, so its residual hangs on the parent. That
        makes it the best witness of decay, which is read off all layers.
        """
        summed = ("l1", "l2_squared", "norm_squared", "changed")
        for name in (*summed, "step_cost", "direction") if layer.in_key else summed:
            total = getattr(self, name)
            total += joined(verdicts, name)
        ranks = joined(verdicts, "rank")
        np.maximum(self.l_ft, joined(verdicts, "l_ft"), out=self.l_ft)
        np.maximum(self.l_lora, ranks, out=self.l_lora)
        np.add(self.l_lora_sum, ranks, out=self.l_lora_sum)

    def correct_ranks(self, again: AskedAgain, by_layer: LayerRecord) -> None:
        """Takes the ranks of `by_layer` for pairs of which some were asked again."""
        ranks = np.stack([rank[again.pairs] for rank in by_layer.ranks], axis=1)
        self.l_lora[again.pairs] = ranks.max(1, initial=0)
        self.l_lora_sum[again.pairs] = ranks.sum(1)

    def evidence(
        self,
        pairs: Pairs,
        copies: CopyVerdict,
        low_rank: BoolArray,
        *,
        decay: FloatArray,
        heads: FloatArray,
        weights: int,
    ) -> PairEvidence:
        """The evidence once all layers, of `weights` together, have been added."""
        return PairEvidence(
            left=pairs.left,
            right=pairs.right,
            l_ft=self.l_ft + 0.0,  # no negative zero
            l_lora=self.l_lora,
            l_lora_sum=self.l_lora_sum,
            l1=self.l1,
            l2_squared=self.l2_squared,
            norm_squared=self.norm_squared,
            changed_share=self.changed / weights,
            low_rank=low_rank,
            step_cost=self.step_cost,
            direction=self.direction,
            identical=self.changed == 0,
            decay=decay,
            heads=heads,
            **{name: getattr(copies, name) for name in copies.__slots__},
        )


def _weight_moments(layers: Sequence[ComparableTensor], moments: Sequence[LayerMoments]) -> WeightMoments:
    names = ("count", "mean", "variance", "skewness", "kurtosis", "entropy", "low", "high", "zeros")
    columns = (np.stack([getattr(layer, name).cpu().numpy() for layer in moments], axis=1) for name in names)
    return WeightMoments(tuple(layer.name for layer in layers), *columns)


def _weights(layers: Sequence[ComparableTensor]) -> int:
    """Of one member."""
    return sum(layer.rows * layer.cols for layer in layers)


def _roundoff(source: TensorSource, layers: Sequence[ComparableTensor]) -> float:
    """Of the format that most compared layers are stored in, the coarser one where that is undecided."""
    tensors = source.tensors
    formats = Counter(tensors[layer.name].spec.dtype for layer in layers)
    return max((count, UNIT_ROUNDOFF[dtype]) for dtype, count in formats.items())[1]
