"""The benchmark of the crawl runs, and measures what it says."""

import subprocess
import sys
from pathlib import Path


def test_it_prints_every_figure_beside_its_target():
    command = [sys.executable, "-m", "scripts.benchmarks.crawl", "--small"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True, timeout=200
    )
    found = {line[:40].strip(): float(line[40:51]) for line in done.stdout.splitlines()}
    assert found["resolver requests"] == found["resolver requests, copies"] == 1
    assert found["CDN requests, copies"] == 0 < found["CDN requests"]
    assert 0 < found["beyond the header"] <= 256
    assert found["header"] == 32
    assert found["throughput"] > 0 < found["highest memory, 2000 listed"]
