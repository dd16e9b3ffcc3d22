"""The memory that a pass over large layers really takes."""

import os
import subprocess
import sys

import pytest

MIB = 2**20
PROGRAM = """
import sys
import numpy as np
import torch
from recovery.evidence import gather
from recovery import schedule
from recovery.schedule import LayerShape, held_bytes, plan_layer
from recovery.settings import EvidenceSettings
from storage.types import Pairs
from tests.support.memory_source import MemorySource, all_pairs


class Drawn(MemorySource):
    # Draws rows when they are read, so that the models themselves take no memory.
    def read(self, name, start, stop):
        cols = self.layers[name].shape[1]
        seeds = [(self.seed, row) for row in range(start, stop)]
        return np.stack([np.random.default_rng(s).standard_normal(cols, dtype=np.float32) for s in seeds])

def drawn(seed, shape):
    source = Drawn({"layer": np.broadcast_to(np.float32(0), shape)})
    source.seed = seed
    return source

def peak():
    # Of this program alone: ru_maxrss begins with what the process that started it had taken.
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024

memory, rows, cols, members, threads, loops = map(int, sys.argv[1:])
schedule.LOOPS_FROM = 0 if loops else 2**60
torch.set_num_threads(threads)
pairs = all_pairs(members)
if members > 20:  # a chain
    pairs = Pairs(np.arange(members - 1), np.arange(1, members), np.zeros(members - 1))
lines, sampled = (64, 2**15) if members > 20 else (256, 2**20)
settings = EvidenceSettings(memory_bytes=memory, spectrum_rows=lines, sample_weights=sampled)
models = [drawn(seed, (rows, cols)) for seed in range(members)]
gather([drawn(seed, (20, 20)) for seed in range(5)], all_pairs(5), EvidenceSettings())
before = peak()
gather(models, pairs, settings)
print(peak() - before)
whole = rows * cols <= settings.sample_weights
sampled = 4 * members * cols * (rows if whole else 64)
shape = LayerShape(members, len(pairs.left), rows, cols, settings.spectrum_rows)
print(sampled + held_bytes(shape, plan_layer(shape, memory - sampled, threads=threads)))
"""


@pytest.mark.parametrize(
    ("members", "rows", "cols", "memory", "threads", "loops"),
    [
        (6, 1024, 3072, 64 * MIB, 1, True),  # 72 MiB of weights: in tiles
        (6, 1024, 3072, 160 * MIB, 1, False),  # whole
        (6, 3072, 1024, 64 * MIB, 1, False),
        (6, 3072, 1024, 160 * MIB, 1, True),
        (2, 4096, 4096, 48 * MIB, 1, False),  # a single member's 64 MiB exceed the setting
        (2, 2048, 2048, 128 * MIB, 3, True),  # blocks side by side
        (200, 512, 512, 128 * MIB, 1, True),  # 200 MiB
        (200, 512, 512, 256 * MIB, 3, True),  # judged side by side
    ],
)
def test_a_pass_takes_no_more_memory_than_projected_and_allowed(
    members: int, rows: int, cols: int, memory: int, threads: int, loops: bool
):
    command = [sys.executable, "-c", PROGRAM, *map(str, (memory, rows, cols, members, threads, int(loops)))]
    # Large blocks go back to the system: what glibc keeps of them for later varies from run to run by tens of MiB.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**18)}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    taken, projected = map(int, printed.split())
    assert taken <= projected <= memory, f"{taken / MIB:.1f} {projected / MIB:.1f} {memory / MIB:.1f}"
