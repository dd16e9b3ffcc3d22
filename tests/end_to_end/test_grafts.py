"""Really trained models of other depth, and parts of models, on a folder Hub: each hangs on whose blocks it has."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crawler.local_hub import LocalHub
from modelkin.config import Config
from modelkin.pipeline import crawl, recover, refresh, verify
from modelkin.pipeline import index as index_models
from modelkin.progress import Silent
from storage import lineage
from storage.lineage import open_graph
from tests.support.tiny_training import Weights, domain, fine_tune, pretrain
from tests.support.trained_hub import index_content, parents, put_model, query

Models = dict[str, Weights]

STACKED = [0, 1, 2, 1, 2, 3]


def chosen(model: Weights, blocks: Sequence[int]) -> Weights:
    """A network of some of a network's blocks, in this order."""
    kinds = ("mix", "up", "down")
    rest = {name: weight for name, weight in model.items() if name.partition(".")[0] not in kinds}
    taken = {
        f"{kind}.{place}.weight": model[f"{kind}.{block}.weight"].copy()
        for kind in kinds
        for place, block in enumerate(blocks)
    }
    return {**rest, **taken}


def as_blocks(model: Weights, stack: str = "layers") -> Weights:
    """A network's tensors block by block, as transformers names them."""
    return {
        f"{stack}.{'.'.join([name.split('.')[1], name.split('.')[0]])}.weight" if name.count(".") == 2 else name: w
        for name, w in model.items()
    }


def with_decoder(encoder: Weights, decoder: Weights) -> Weights:
    """An encoder-decoder: the decoder's blocks have a tensor more, and the most weights."""
    crossing = {f"decoder.{place}.cross.weight": decoder[f"mix.{place}.weight"].T.copy() for place in range(4)}
    parts = {**as_blocks(encoder, "encoder"), **as_blocks(decoder, "decoder"), **crossing}
    return {name: weight for name, weight in parts.items() if name.partition(".")[2]}


@pytest.fixture(scope="module")
def deep() -> Iterator[Models]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0, blocks=4)
    tuned, other = (fine_tune(root, domain(0, topic), seed=topic) for topic in (1, 2))
    stacked = chosen(root, STACKED)
    both = {name: (tuned if ".0." in name or ".1." in name else other)[name] for name in root}
    yield {
        "lab/root": root,
        "lab/tuned": tuned,
        "lab/other": other,
        "big/stacked": stacked,
        "big/trained": fine_tune(stacked, domain(0, 3), seed=3),
        "big/both": chosen(both, [0, 1, 0, 1, 2, 3]),
        "small/cut": chosen(tuned, [0, 3]),
        "small/student": fine_tune(chosen(other, [0, 2]), domain(0, 4), seed=4),
        "far/stranger": pretrain(20, steps=300, blocks=3),
        "seq/whole": {},
        "seq/encoder": {},
    }
    torch.set_num_threads(threads)


def write(hub: Path, models: Models) -> Path:
    for name, weights in models.items():
        if weights:
            put_model(hub, name, as_blocks(weights))
    return hub


@pytest.fixture(scope="module")
def deep_hub(deep: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    hub = write(tmp_path_factory.mktemp("deep"), deep)
    encoder, decoder = pretrain(30, blocks=4, steps=300), pretrain(31, blocks=4, steps=300)
    put_model(hub, "seq/whole", with_decoder(encoder, decoder))
    put_model(hub, "seq/encoder", {n: w for n, w in as_blocks(encoder, "encoder").items() if n.startswith("encoder")})
    return hub


@pytest.fixture(scope="module")
def deep_index(deep_hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return refreshed(deep_hub, tmp_path_factory.mktemp("index"))


def refreshed(hub: Path | str, index: Path) -> Path:
    refresh(str(hub), index, config=Config(), progress=Silent())
    return index


def edges(index: Path, child: str) -> list[tuple[str, str, float, list[int | None]]]:
    rows = query(
        index, f"SELECT parent, relation, weight, details FROM edges WHERE child = '{child}' ORDER BY weight DESC"
    )
    return [(parent, relation, weight, json.loads(details)["blocks"]) for parent, relation, weight, details in rows]


def test_blocks_taken_twice_are_found_in_the_order_in_which_they_were_taken(deep_index: Path):
    assert edges(deep_index, "big/stacked") == [("lab/root", "merge", 1.0, STACKED)]


def test_what_was_trained_after_it_was_stacked_hangs_on_the_stack(deep_index: Path):
    assert parents(deep_index)["big/trained"] == "big/stacked"


def test_a_stack_of_two_models_hangs_on_both_though_its_kin_of_this_depth_hang_on_another(deep_index: Path):
    assert edges(deep_index, "big/both") == [
        ("lab/tuned", "merge", pytest.approx(4 / 6), [0, 1, 0, 1, None, None]),
        ("lab/other", "merge", pytest.approx(2 / 6), [None, None, None, None, 2, 3]),
    ]


def test_blocks_taken_out_and_a_student_hang_on_who_had_them(deep_index: Path):
    assert edges(deep_index, "small/cut") == [("lab/tuned", "pruned", 1.0, [0, 3])]
    assert edges(deep_index, "small/student") == [("lab/other", "finetune", 1.0, [0, 2])]


def test_an_encoder_saved_alone_is_a_copy_of_that_part(deep_index: Path):
    assert edges(deep_index, "seq/encoder") == [("seq/whole", "duplicate", 1.0, [0, 1, 2, 3])]


def test_strangers_of_other_depth_stay_apart(deep_index: Path):
    found = parents(deep_index)
    assert sorted(name for name in found if found[name] is None) == ["far/stranger", "lab/root", "seq/whole"]


def test_all_are_in_one_tree_at_the_depth_of_their_edges(deep_index: Path):
    assert verify(deep_index) == []
    with open_graph(deep_index) as graph:
        assert lineage.model(graph, "big/trained").depth == 2
        assert lineage.model(graph, "big/both").depth == 2
        assert [kin.model for kin in lineage.ancestors(graph, "small/cut")] == ["lab/tuned", "lab/root"]
        assert [tree.models for tree in lineage.trees(graph, most=9)] == [8, 2, 1]


def test_a_second_refresh_reads_no_weights(deep_hub: Path, tmp_path: Path):
    with LocalHub(deep_hub) as served:
        index = refreshed(served.endpoint, tmp_path / "index")
        before, asked = index_content(index), len(served.request_log)
        refreshed(served.endpoint, index)
        assert {entry.target.split("?")[0] for entry in served.request_log[asked:]} == {"/api/models"}
    assert index_content(index) == before


@pytest.mark.parametrize("late", ["lab/root", "lab/other", "big/stacked", "seq/whole"])
def test_in_whatever_order_models_come_and_go_it_ends_as_from_scratch(
    late: str, deep_hub: Path, deep_index: Path, tmp_path: Path
):
    hub = Path(shutil.copytree(deep_hub, tmp_path / "hub"))
    shutil.rmtree(hub / late)
    index = Path(shutil.copytree(deep_index, tmp_path / "index"))
    without = index_content(refreshed(hub, index))
    assert verify(index) == []
    assert without == index_content(refreshed(hub, tmp_path / "scratch"))
    shutil.copytree(deep_hub / late, hub / late)
    assert index_content(refreshed(hub, index)) == index_content(deep_index)
    assert verify(index) == []


def test_between_index_and_recover_nothing_is_broken(deep_hub: Path, deep_index: Path, tmp_path: Path):
    hub, index = (
        Path(shutil.copytree(deep_hub, tmp_path / "hub")),
        Path(shutil.copytree(deep_index, tmp_path / "index")),
    )
    put_model(hub, "far/away", as_blocks(pretrain(40, steps=5, blocks=3)))
    crawl(str(hub), index, config=Config(), progress=Silent())
    index_models(index, config=Config(), progress=Silent())
    assert verify(index) == []
    recover(index, config=Config(), progress=Silent())
    assert index_content(index) == index_content(refreshed(hub, tmp_path / "scratch"))


def test_trees_that_are_confirmed_later_end_as_those_confirmed_at_once(
    deep_hub: Path, deep_index: Path, tmp_path: Path
):
    index = tmp_path / "index"
    with LocalHub(deep_hub) as served:
        later = replace(Config(), exact=replace(Config().exact, budget_bytes=0))
        refresh(served.endpoint, index, config=later, progress=Silent())
        assert verify(index) == []
        assert parents(index) == parents(deep_index)
        refreshed(served.endpoint, index)
    assert verify(index) == []
    assert edges(index, "big/both") == edges(deep_index, "big/both")
    assert parents(index) == parents(deep_index)


def test_a_stack_of_two_strangers_is_nobodys_parent(deep: Models, tmp_path: Path):
    other = pretrain(50, steps=300, blocks=4)
    first, second = chosen(deep["lab/root"], range(4)), chosen(other, range(4))
    shifted = {_shifted(name): weight for name, weight in second.items() if name.count(".") == 2}
    for name, weights in (("lab/root", deep["lab/root"]), ("far/root", other), ("both/stacked", {**first, **shifted})):
        put_model(tmp_path / "hub", name, as_blocks(weights))
    found = parents(refreshed(tmp_path / "hub", tmp_path / "index"))
    assert found == {"lab/root": None, "far/root": None, "both/stacked": None}


def _shifted(name: str) -> str:
    """The name of a tensor four blocks further on."""
    kind, block, rest = name.split(".")
    return f"{kind}.{int(block) + 4}.{rest}"


def test_nets_that_are_hardly_alike_are_no_kin(tmp_path: Path):
    """Related by all of their blocks together, though no two blocks match."""
    generator = np.random.default_rng(0)
    common = generator.standard_normal((64, 64), dtype=np.float32)
    for name, blocks in (("a/few", 10), ("b/many", 12)):
        weights = {
            f"layers.{block}.{kind}.weight": 0.1 * common + generator.standard_normal((64, 64), dtype=np.float32)
            for block in range(blocks)
            for kind in ("up", "down")
        }
        put_model(tmp_path / "hub", name, weights)
    assert parents(refreshed(tmp_path / "hub", tmp_path / "index")) == {"a/few": None, "b/many": None}


def test_rows_too_long_for_more_than_one_of_each_are_compared_by_equality(tmp_path: Path):
    generator = np.random.default_rng(0)
    wide = {
        f"layers.{block}.{kind}.weight": generator.standard_normal((16, 20_000), dtype=np.float32)
        for block in range(3)
        for kind in ("up", "down")
    }
    put_model(tmp_path / "hub", "wide/three", wide)
    put_model(tmp_path / "hub", "wide/two", {name: w for name, w in wide.items() if ".2." not in name})
    assert parents(refreshed(tmp_path / "hub", tmp_path / "index")) == {"wide/three": None, "wide/two": "wide/three"}


def test_members_with_a_second_stack_of_the_make_are_compared_in_the_first(deep: Models, tmp_path: Path):
    cut = fine_tune(chosen(deep["lab/root"], [0, 1, 2]), domain(0, 6), seed=6)
    image = {f"image.{n}": w for n, w in as_blocks(chosen(deep["far/stranger"], [0, 1])).items() if "layers" in n}
    put_model(tmp_path / "hub", "lab/root", as_blocks(deep["lab/root"]))
    put_model(tmp_path / "hub", "small/cut", as_blocks(chosen(deep["lab/root"], [0, 1, 2])))
    put_model(tmp_path / "hub", "two/towers", {**as_blocks(cut), **image})
    found = parents(refreshed(tmp_path / "hub", tmp_path / "index"))
    assert (found["small/cut"], found["two/towers"]) == ("lab/root", "small/cut")


def test_a_model_whose_blocks_cannot_be_read_now_is_asked_again(deep_hub: Path, deep_index: Path, tmp_path: Path):
    hub = Path(shutil.copytree(deep_hub, tmp_path / "hub"))
    weights = hub / "seq" / "whole" / "model.safetensors"
    index = tmp_path / "index"
    crawl(str(hub), index, config=Config(), progress=Silent())
    aside = weights.rename(weights.with_suffix(".aside"))
    recover(index, config=Config(), progress=Silent())
    assert parents(index)["seq/encoder"] is None
    aside.rename(weights)
    assert index_content(refreshed(hub, index)) == index_content(deep_index)


def test_half_precision_is_seen_through(deep: Models, tmp_path: Path):
    put_model(tmp_path / "hub", "lab/root", as_blocks(deep["lab/root"]))
    put_model(tmp_path / "hub", "half/stacked", as_blocks(deep["big/stacked"]), dtype=torch.bfloat16)
    assert edges(refreshed(tmp_path / "hub", tmp_path / "index"), "half/stacked") == [
        ("lab/root", "merge", 1.0, STACKED)
    ]
