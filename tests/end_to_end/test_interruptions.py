"""A refresh that is killed or stopped goes on from what it committed, and ends where an undisturbed one does."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crawler.local_hub import HubOptions, LocalHub
from modelkin.pipeline import verify
from tests.support.changing_hub import World, crawled, many_changes
from tests.support.trained_hub import index_content, query

SLOWLY = HubOptions(latency_s=0.02)
PAGES_OF_TWO = "[hub]\npage_models = 2\n"
PATIENCE_S = 60


def start(endpoint: str, index: Path, config: Path, *, command: str = "refresh") -> subprocess.Popen[str]:
    arguments = [command, endpoint, "--index", str(index), "--config", str(config)]
    code = "from modelkin.cli.main import run; run()"
    environment = os.environ | {"HF_TOKEN": ""}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_after_requests(hub: LocalHub, process: subprocess.Popen[str], requests: int, number: signal.Signals) -> str:
    """Sends the signal once the hub has answered so many more requests; returns what the command said."""
    goal, deadline = len(hub.request_log) + requests, time.monotonic() + PATIENCE_S
    while len(hub.request_log) < goal and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE_S)
    return told


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "modelkin.toml"
    path.write_text(PAGES_OF_TWO)
    return path


@pytest.mark.slow
def test_killed_again_and_again_it_ends_where_an_undisturbed_run_does(
    pristine_hub: Path, pristine_index: Path, tmp_path: Path, config: Path
):
    index = tmp_path / "index"
    with LocalHub(pristine_hub, options=SLOWLY) as hub:
        for requests in (1, 4, 9, 16, 40):
            process = start(hub.endpoint, index, config)
            stop_after_requests(hub, process, requests, signal.SIGKILL)
        last = start(hub.endpoint, index, config)
        last.communicate(timeout=2 * PATIENCE_S)
    assert last.returncode == 3
    assert index_content(index) == index_content(pristine_index)
    assert verify(index) == []


def kill_until_done(hub: LocalHub, index: Path, config: Path, draw: random.Random) -> None:
    """Crawls that are killed after so many requests and a moment more, until one lives to its end."""
    for _ in range(4):
        process = start(hub.endpoint, index, config, command="crawl")
        goal, deadline = len(hub.request_log) + draw.randint(1, 25), time.monotonic() + PATIENCE_S
        while len(hub.request_log) < goal and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.05))  # into the commits, between requests
        process.kill()
        process.communicate()
    last = start(hub.endpoint, index, config, command="crawl")
    last.communicate(timeout=2 * PATIENCE_S)
    assert last.returncode in {0, 3}


SEEDS = [0, *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 16)]]


@pytest.mark.parametrize("seed", SEEDS)
def test_crawls_killed_at_any_moment_end_where_an_undisturbed_one_does(seed: int, tmp_path: Path):
    draw, index, nightly, whole = random.Random(seed), tmp_path / "index", tmp_path / "nightly", tmp_path / "whole"
    nightly.write_text(f"{PAGES_OF_TWO}[crawl]\nfull_below_models = 0\n")
    whole.write_text(f"{PAGES_OF_TWO}[crawl]\nfull_sweep_h = 0\n")
    world = World(tmp_path / "hub")
    with LocalHub(world.root, options=HubOptions(latency_s=0.005)) as hub:
        kill_until_done(hub, index, nightly, draw)
        undisturbed = tmp_path / "undisturbed"
        start(hub.endpoint, undisturbed, nightly, command="crawl").communicate(timeout=PATIENCE_S)
        assert crawled(index) == crawled(undisturbed)
        many_changes(world)
        kill_until_done(hub, index, nightly, draw)
        start(hub.endpoint, index, whole, command="crawl").communicate(timeout=PATIENCE_S)
        scratch = tmp_path / "scratch"
        start(hub.endpoint, scratch, whole, command="crawl").communicate(timeout=PATIENCE_S)
        assert crawled(index) == crawled(scratch)
    assert verify(index) == []


def test_stopped_by_ctrl_c_it_says_so_and_goes_on_from_its_cursor(pristine_hub: Path, tmp_path: Path, config: Path):
    index = tmp_path / "index"
    with LocalHub(pristine_hub, options=SLOWLY) as hub:
        process = start(hub.endpoint, index, config)
        told = stop_after_requests(hub, process, 12, signal.SIGINT)
        assert process.returncode == 130
        assert "Traceback" not in told
        stopped = len(hub.request_log)
        again = start(hub.endpoint, index, config)
        again.communicate(timeout=2 * PATIENCE_S)
        listing = [entry.target for entry in hub.request_log[stopped:] if entry.target.startswith("/api/models?")]
    assert again.returncode == 3
    assert "cursor=" in listing[0]
    assert query(index, "SELECT status FROM runs ORDER BY run_id") == [("interrupted",), ("done",)]
