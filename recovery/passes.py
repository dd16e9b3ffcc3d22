"""The passage of layers through memory: what is planned of each, and in which order its tiles are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from recovery.halves import Travelling, travelling_format
from recovery.layer_evidence import LayerComparison
from recovery.reading import TileRead, TileReader
from recovery.schedule import LayerSchedule, LayerShape, held_bytes, plan_layer, sweeps
from recovery.settings import EvidenceSettings
from recovery.spectrum import SpectrumSample
from recovery.tiles import LayerTiles
from recovery.workers import Workers
from storage.types import FLOAT_DTYPE_BYTES, UNIT_ROUNDOFF, ComparableTensor, Pairs, TensorSource


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """A layer, which of its lines spectra are taken from, and how it passes through memory."""

    layer: ComparableTensor
    sample: SpectrumSample
    shape: LayerShape
    schedule: LayerSchedule
    travelling: Travelling  # how its weights go to the device
    loops: bool  # whether compiled loops sum over it


def planned_layer(
    layer: ComparableTensor,
    sources: Sequence[TensorSource],
    pairs: int,
    settings: EvidenceSettings,
    *,
    threads: int = 1,
    loops: bool = False,
) -> PlannedLayer:
    """How a layer of these sources passes through `settings.memory_bytes` with so many pairs and threads."""
    sample = SpectrumSample(layer.rows, layer.cols, settings.spectrum_rows)
    shape = LayerShape(len(sources), pairs, layer.rows, layer.cols, settings.spectrum_rows)
    schedule = plan_layer(shape, settings.memory_bytes, threads=threads)
    return PlannedLayer(layer, sample, shape, schedule, _travelling(layer, sources, settings.device), loops)


def _travelling(layer: ComparableTensor, sources: Sequence[TensorSource], device: str) -> Travelling:
    return "F32" if device == "cpu" else travelling_format([source.tensors[layer.name].spec for source in sources])


def planned_reads(planned: Sequence[PlannedLayer], memory_bytes: int) -> Iterator[TileRead]:
    """All tiles in the order in which they are compared.

    The first tile of a layer is read while the layer before is compared, where `memory_bytes` has room for it beside
    all that the layer before takes.
    """
    held, ample = memory_bytes, _ample(planned, memory_bytes)
    for plan in planned:
        shape, schedule = plan.shape, plan.schedule
        early = held + schedule.tile_rows * shape.row_bytes <= memory_bytes
        whole = schedule.tile_rows >= shape.rows
        for start, stop in sweeps(shape, schedule):
            yield TileRead(plan.layer.name, shape.cols, start, stop, whole, early, plan.travelling, ample)
            early = True
        held = held_bytes(shape, schedule)


def _ample(planned: Sequence[PlannedLayer], memory_bytes: int) -> bool:
    tile = max(plan.schedule.tile_rows * plan.shape.row_bytes for plan in planned)
    return 2 * tile + max(held_bytes(plan.shape, plan.schedule) for plan in planned) <= memory_bytes


def comparison_of(
    plan: PlannedLayer, reader: TileReader, pairs: Pairs, settings: EvidenceSettings, *, workers: Workers
) -> LayerComparison:
    """The comparison of one layer, whose tiles `reader` brings next."""
    name, device = plan.layer.name, settings.device
    left, right = (torch.from_numpy(ends).to(device) for ends in (pairs.left, pairs.right))
    roundoff = [UNIT_ROUNDOFF[source.tensors[name].spec.dtype] for source in reader.sources]
    return LayerComparison(
        tiles=LayerTiles(reader, len(roundoff), name, plan.sample, plan.schedule.tile_rows, device),
        left=left,
        right=right,
        roundoff=torch.tensor(roundoff, dtype=torch.float64, device=device),
        schedule=plan.schedule,
        loops=plan.loops,
        extremes=settings.layer_distances,
        workers=workers,
    )


def stored_bytes(layer: ComparableTensor, sources: Sequence[TensorSource]) -> int:
    """Of all weights of a layer in all sources."""
    sizes = [FLOAT_DTYPE_BYTES[source.tensors[layer.name].spec.dtype] for source in sources]
    return layer.rows * layer.cols * sum(sizes)
