"""Time and memory of gathering evidence, as ratios to yardsticks that are measured in the same run.

    python -m scripts.benchmarks.engine [CASE ...] [--small] [--threads N] [--json FILE]

Cases: two, cluster, rank, memory, growth; all of them unless named. --small shrinks all to seconds. Times are medians
of repeated warm runs on two threads, which wait for each other a lot where other processes run. What is said to be
scaled was measured on a part and multiplied.

The models of `two` are written to the temporary folder (2 GiB, else 128 MiB) and removed afterwards.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from crawler.sources import FolderSource
from recovery import schedule
from recovery.evidence import gather
from recovery.grams import gram
from recovery.settings import EvidenceSettings
from recovery.spectrum import SpectrumSample, rank, squared_singular_values
from scripts.benchmarks.measured import Figure
from storage.types import ComparableTensor, Pairs, TensorSource, TensorSpec, WeightArray

THREADS = 2
VIT_BLOCK = {"q": (768, 768), "k": (768, 768), "v": (768, 768), "o": (768, 768), "up": (3072, 768), "down": (768, 3072)}
VIT_BLOCKS = 12
PAPER_PAIRS = 3
LONGER_ROWS = 256
"""Of which spectra were once taken: figures of before counted their operations."""
CHUNK_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class Memory:
    """A model in memory: a source that hands out its rows without copying."""

    layers: Mapping[str, WeightArray]

    @property
    def tensors(self) -> Mapping[str, ComparableTensor]:
        """All of one format."""
        return {name: _described(name, *weight.shape) for name, weight in self.layers.items()}

    def read(self, name: str, start: int, stop: int) -> WeightArray:
        """Rows of a layer (stop - start, cols)."""
        return self.layers[name][start:stop]

    def batch_counts(self) -> Mapping[str, int]:
        """Nothing: there is no normalisation."""
        return {}

    def gains(self) -> Mapping[str, WeightArray]:
        """Nothing, either."""
        return {}


def _described(name: str, rows: int, cols: int) -> ComparableTensor:
    return ComparableTensor(name, rows, cols, in_key=True, spec=TensorSpec(name, "F32", (rows, cols), "memory", 0, 0))


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds of some work: on the clock, and of the processor by all threads."""

    clock: float
    processor: float

    def figure(self, name: str, note: str = "") -> Figure:
        """The clock's, with the processor's beside it."""
        return Figure(name, self.clock, "s", note="; ".join(filter(None, (f"processor {self.processor:.3g} s", note))))

    def times(self, factor: float) -> "Taken":
        """Of so much more work."""
        return Taken(self.clock * factor, self.processor * factor)

    def over(self, other: "Taken", name: str, target: str = "") -> Figure:
        """The ratio of clocks, with that of processors beside it, which other processes disturb less."""
        note = f"by processor {self.processor / other.processor:.3g}"
        return Figure(name, self.clock / other.clock, "x", target, note)


def timed(work: Callable[[], object], *, runs: int = 3, warm: bool = True) -> Taken:
    """The medians of several runs after one that does not count."""
    if warm:
        work()
    clock, processor = [], []
    for _ in range(runs):
        begin, begun = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - begin)
        processor.append(time.process_time() - begun)
    return Taken(statistics.median(clock), statistics.median(processor))


def all_pairs(members: int) -> Pairs:
    """Every pair of so many members."""
    ends = np.array(list(combinations(range(members), 2)), dtype=np.int64).reshape(-1, 2)
    return Pairs(ends[:, 0], ends[:, 1], np.zeros(len(ends)))


def family(members: int, shapes: Mapping[str, tuple[int, int]], seed: int = 0) -> list[Memory]:
    """Models of which each is a training step of a hundredth from an earlier one."""
    generator = np.random.default_rng(seed)
    models: list[dict[str, WeightArray]] = []
    for member in range(members):
        parent = models[generator.integers(member)] if member else {}
        models.append({name: _stepped(generator, shape, parent.get(name)) for name, shape in shapes.items()})
    return [Memory(model) for model in models]


def _stepped(generator: np.random.Generator, shape: tuple[int, int], parent: WeightArray | None) -> WeightArray:
    drawn = generator.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
    return drawn if parent is None else parent + np.float32(0.01) * drawn


def two(*, small: bool) -> Iterator[Figure]:
    """All evidence of two models in bf16 against reading and summing their bytes."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{member}.safetensors" for member in range(2)]
        _write_two(paths, layers=2 if small else 32)
        settings = EvidenceSettings()
        ours = timed(lambda: gather([FolderSource(path) for path in paths], all_pairs(2), settings))
        plain = timed(lambda: [_summed(path) for path in paths])
    size = "64 MiB" if small else "1 GiB"
    yield ours.figure(f"two models, {size} each in bf16: ours")
    yield plain.figure("  reading and summing the same bytes")
    yield ours.over(plain, "  ratio", "<= 3")


def _write_two(paths: Sequence[Path], *, layers: int) -> None:
    generator = torch.Generator().manual_seed(0)
    names = [f"model.layers.{layer}.self_attn.q_proj.weight" for layer in range(layers)]
    first = {name: torch.randn((4096, 4096), generator=generator, dtype=torch.bfloat16) * 0.02 for name in names}
    save_file(first, paths[0])
    for weights in first.values():
        weights.add_(torch.randn((4096, 4096), generator=generator, dtype=torch.bfloat16), alpha=0.0004)
    save_file(first, paths[1])


def _summed(path: Path) -> float:
    buffer, total = torch.empty(CHUNK_BYTES // 2, dtype=torch.bfloat16), 0.0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer.view(torch.uint8).numpy().data):
            total += float(buffer[: count // 2].sum(dtype=torch.float32))
    return total


def cluster(*, small: bool) -> Iterator[Figure]:
    """All pairs of 21 models of ViT-B's shapes against the paper's procedure, matrix products and what is least."""
    members, shapes = (6, {"q": (768, 768)}) if small else (21, VIT_BLOCK)
    models, pairs = family(members, shapes), all_pairs(members)
    ours = timed(lambda: gather(models, pairs, EvidenceSettings()), runs=1 if not small else 3)
    paper = timed(lambda: [_paper(*(models[i] for i in ends)) for ends in [(0, 1)] * PAPER_PAIRS], runs=1, warm=False)
    paper = paper.times(len(pairs.left) / PAPER_PAIRS)
    blocks = "a layer" if small else f"1 of {VIT_BLOCKS} blocks"
    yield ours.figure(f"{members} models, {blocks} of ViT-B, {len(pairs.left)} pairs: ours")
    yield paper.figure("  the paper's procedure", f"scaled from {PAPER_PAIRS} pairs")
    yield paper.over(ours, "  faster than the paper's procedure by", ">= 50")
    yield from _against_products(ours, shapes, len(pairs.left))
    yield from _against_the_least(ours, models, len(pairs.left))


def _against_products(ours: Taken, shapes: Mapping[str, tuple[int, int]], pairs: int) -> Iterator[Figure]:
    weights = sum(rows * cols for rows, cols in shapes.values())
    sums = 18 * weights
    longer = sum(2 * min(*shape, LONGER_ROWS) ** 2 * max(shape) for shape in shapes.values())
    operations, more = (pairs * (spectra + sums) for spectra in (_spectra_operations(shapes), longer))
    product, longer_product = (timed(partial(_multiplied, count), runs=1) for count in (operations, more))
    note = "{:.0f} GFlop: Gram matrices of spectra, and 18 per weight and pair"
    yield product.figure("  float32 product of as many operations", note.format(operations / 1e9))
    yield ours.over(product, "  ratio", "<= 3")
    yield longer_product.figure(f"  float32, as many as with {LONGER_ROWS} whole rows", note.format(more / 1e9))
    yield ours.over(longer_product, "  ratio")


def _spectra_operations(shapes: Mapping[str, tuple[int, int]]) -> int:
    """Of a pair's Gram matrices."""
    samples = [SpectrumSample(*shape, EvidenceSettings().spectrum_rows) for shape in shapes.values()]
    return sum(2 * sample.order**2 * sample.taken for sample in samples)


def _against_the_least(ours: Taken, models: Sequence[Memory], pairs: int) -> Iterator[Figure]:
    """Below which no evidence of all pairs comes: one number of each pair's and member's weights, and spectra."""
    tiles = [torch.from_numpy(np.stack([model.layers[name] for model in models])) for name in models[0].layers]
    passes = timed(partial(_seen_once, tiles))
    operations = pairs * _spectra_operations({name: weight.shape for name, weight in models[0].layers.items()})
    grams = timed(partial(_multiplied, operations), runs=1)
    least = Taken(passes.clock + grams.clock, passes.processor + grams.processor)
    yield passes.figure("  one float32 number of each pair's and each member's weights, from the cache")
    yield grams.figure("  float32 product of as many operations as Gram matrices have")
    yield ours.over(least, "  ratio to both together")


def _seen_once(tiles: Sequence[torch.Tensor]) -> None:
    """L1 of all pairs and the sum of every member, (members, rows, cols), of some rows at a time."""
    for tile in tiles:
        for start in range(0, tile.shape[1], 16):
            block = tile[:, start : start + 16]
            torch.pdist(block.flatten(1), 1.0)
            block.sum((1, 2))


def _paper(left: TensorSource, right: TensorSource) -> tuple[float, int]:
    """Eq. 1 and Eq. 2 by their definitions, loading both models."""
    distance, largest_rank = 0.0, 0
    for name, tensor in left.tensors.items():
        u, v = (torch.from_numpy(model.read(name, 0, tensor.rows).copy()) for model in (left, right))
        scaled = [(w - w.min()) / (w.max() - w.min()) for w in (u, v)]
        distance = max(distance, float((scaled[0] - scaled[1]).abs().max()))
        largest_rank = max(largest_rank, int(torch.linalg.matrix_rank(u - v)))
    return distance, largest_rank


def _multiplied(operations: int, side: int = 2048) -> None:
    """Products of square matrices in float32 with so many multiplications and additions in all."""
    a, b, out = (torch.ones(side, side) for _ in range(3))
    for _ in range(max(1, round(operations / (2 * side**3)))):
        torch.mm(a, b, out=out)


def ranks(*, small: bool) -> Iterator[Figure]:
    """Rank of one difference of rank 64 against all its singular values."""
    side = 1024 if small else 4096
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(side, side, generator=generator) * 0.02
    low = torch.randn(side, 64, generator=generator) @ torch.randn(64, side, generator=generator)
    pair = torch.stack([base, base + 1e-4 * low])
    found = _rank(pair)
    ours = timed(lambda: _rank(pair), runs=9)
    full = timed(lambda: torch.linalg.svdvals(pair[1] - pair[0]), runs=1, warm=False)
    yield ours.figure(f"rank of a {side} x {side} difference of rank 64, found {found}: ours")
    yield full.figure("  all singular values", "one run")
    yield full.over(ours, "  faster by", ">= 100")


def _rank(pair: torch.Tensor) -> int:
    """As the pass finds it, whose edge of rounding is taken from the members' squares."""
    _, rows, cols = pair.shape
    sample = SpectrumSample(rows, cols, EvidenceSettings().spectrum_rows)
    lines = pair[:, sample.lines][:, :, sample.places]
    squared = squared_singular_values(gram(lines, torch.tensor([0]), torch.tensor([1])))
    edge = 2.0**-46 * (lines[0].square().sum().to(torch.float64)).reshape(1)
    return int(rank(squared, edge, sample=sample)[0])


def memory(*, small: bool) -> Iterator[Figure]:
    """The peak of a process that compares 200 members in one large layer."""
    side, setting = (1024, 2**28) if small else (4096, 2**31)
    command = [sys.executable, "-m", "scripts.benchmarks.engine", "--peak", str(side), str(setting)]
    taken, elapsed = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())  # noqa: S603
    yield Figure(f"200 members of {side} x {side}, 199 pairs: taken", taken / 2**20, "MiB", note=f"{elapsed:.0f} s")
    yield Figure("  over the setting", taken / setting, "x", "<= 1.1")


def _peak(side: int, setting: int) -> None:
    def held() -> int:
        # Not ru_maxrss, which begins with what the process that started this one had taken.
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    schedule.LOOPS_FROM = 0  # loaded before, as torch is: what libraries take does not grow with models
    gather(family(2, {"layer": (64, 64)}), all_pairs(2), EvidenceSettings())
    drawn = np.random.default_rng(0).standard_normal(side * side + 1000, dtype=np.float32)
    models = [Memory({"layer": drawn[m : m + side * side].reshape(side, side)}) for m in range(200)]
    chain = Pairs(np.arange(199), np.arange(1, 200), np.zeros(199))
    before, begin = held(), time.perf_counter()
    gather(models, chain, EvidenceSettings(memory_bytes=setting))
    print(held() - before, time.perf_counter() - begin)


def growth(*, small: bool) -> Iterator[Figure]:
    """Time of all pairs of ever more and ever smaller members, of the same bytes together."""
    side, layers = (256, 64) if small else (768, 64)
    for members in (8, 16, 32, 64):
        models = family(members, {f"layer{i}": (side, side) for i in range(layers // members)})
        pairs = all_pairs(members)
        taken = timed(partial(gather, models, pairs, EvidenceSettings()), runs=1)
        weights = sum(w.rows * w.cols for w in models[0].tensors.values())
        each = taken.processor / (weights * len(pairs.left)) * 1e9
        note = f"{4 * weights * members / 2**20:.0f} MiB; {each:.2f} ns of processor per weight and pair"
        yield taken.figure(f"{members} members, {len(pairs.left)} pairs", note)


CASES = {"two": two, "cluster": cluster, "rank": ranks, "memory": memory, "growth": growth}


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, runs, prints."""
    parser = argparse.ArgumentParser(
        prog="engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--threads", type=int, default=THREADS, help="1 where other processes take the other cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--peak", nargs=2, type=int, metavar=("SIDE", "BYTES"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    if asked.peak:
        _peak(*asked.peak)
        return
    if unknown := set(asked.cases) - CASES.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    figures = []
    for case in asked.cases or CASES:
        for figure in CASES[case](small=asked.small):
            figures.append(figure)
            print(_line(figure), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")


def _line(figure: Figure) -> str:
    note = f"  ({figure.note})" if figure.note else ""
    return f"{figure.name:<66} {figure.value:>10.4g} {figure.unit:<4} {figure.target:>8}{note}"


if __name__ == "__main__":
    main()
