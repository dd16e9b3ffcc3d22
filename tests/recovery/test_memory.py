"""The memory that a pass over large layers really takes."""

import subprocess
import sys

import pytest

MIB = 2**20
PROGRAM = """
import resource, sys
import numpy as np
import torch
from recovery.evidence import gather
from recovery.settings import EvidenceSettings
from tests.support.memory_source import MemorySource, all_pairs

torch.set_num_threads(1)

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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

memory, shape = int(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3]))
gather([drawn(seed, (20, 20)) for seed in range(3)], all_pairs(3), EvidenceSettings())
before = peak()
gather([drawn(seed, shape) for seed in range(6)], all_pairs(6), EvidenceSettings(memory_bytes=memory))
print(peak() - before)
"""


@pytest.mark.parametrize(("rows", "cols"), [(1024, 3072), (3072, 1024)])
@pytest.mark.parametrize("memory", [64 * MIB, 160 * MIB])
def test_a_pass_takes_no_more_memory_than_it_may(rows: int, cols: int, memory: int):
    # 72 MiB of weights: tiled in the smaller memory, whole in the larger.
    command = [sys.executable, "-c", PROGRAM, str(memory), str(rows), str(cols)]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert taken <= memory
