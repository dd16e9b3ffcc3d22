"""The wild set: small families really trained, laid out and read back; copies and merges held to what they say."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForMaskedLM
from transformers import AutoModelForSequenceClassification as AutoClassifier

from crawler.adapter_header import AdapterHeader, read_adapter
from crawler.sources import FolderSource
from modelkin.truth import read_truth
from recovery.known_graph import TrueModel
from scripts.make_wild import make_wild, print_plan
from scripts.training.adapters import Adapter, peft_config, peft_tensors, ranks_of
from scripts.training.corpora import Data, batches
from scripts.training.derive import dare, slerp, ties
from scripts.training.learning import Training, loss_of, train
from scripts.training.nets import Architecture, NetShape, is_copied_matrix, load_state, new_net, published_name
from scripts.wild.folders import MARKER
from scripts.wild.growing import Grown, grow
from scripts.wild.members import SMALL, Member, Merging
from scripts.wild.plan import plan_family
from storage.errors import UsageError
from storage.types import TensorSpec

ADAPTED = 202
SEED, FAMILIES = 306, 3
"""Three families that hold every relation and a missing parent between them."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def wild(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("wild")
    make_wild(home, seed=SEED, families=FAMILIES, size=SMALL)
    return home


@pytest.fixture(scope="module")
def truth(wild) -> dict[str, TrueModel]:
    return dict(read_truth(wild / "truth.json"))


def _plan() -> dict[str, Member]:
    return {member.name: member for family in range(FAMILIES) for member in plan_family(SEED, family, SMALL)}


def _weights(wild: Path, name: str) -> Weights:
    """All tensors of a repository, whatever its files are called."""
    found: Weights = {}
    for file in sorted((wild / name).glob("*.safetensors")):
        found |= load_file(file)
    return found


def _pairs(wild: Path, truth: dict[str, TrueModel], relation: str) -> list[tuple[TrueModel, Weights, Weights]]:
    """The truth of each copy of a kind, with its weights and its parent's."""
    pairs = [
        (model, _weights(wild, name), _weights(wild, next(iter(model.parents))))
        for name, model in truth.items()
        if model.relation == relation
    ]
    assert pairs
    return pairs


def test_the_truth_is_of_version_two_and_tells_of_every_model_planned(wild, truth):
    assert json.loads((wild / "truth.json").read_text())["version"] == 2
    assert set(truth) == set(_plan())
    for name, member in _plan().items():
        assert tuple(truth[name].parents) == member.parents
        told = (truth[name].relation, truth[name].present, truth[name].family, truth[name].architecture)
        assert told == (member.relation, member.present, member.family, member.shape.architecture)
    assert {model.relation for model in truth.values()} == {
        None, "finetune", "pretrain", "lora", "adapter", "quantized", "pruned", "cast", "duplicate", "merge",
    }  # fmt: skip


def test_what_is_left_out_has_no_folder_and_no_listing_but_children(wild, truth):
    listed = json.loads((wild / "hub.json").read_text())["models"]
    folders = {path.parent.relative_to(wild).as_posix() for path in wild.glob("*/*/README.md")}
    assert set(listed) == folders == {name for name, model in truth.items() if model.present}
    missing = [name for name, model in truth.items() if not model.present]
    parents = Counter(parent for model in truth.values() for parent in model.parents)
    assert missing
    assert all(parents[name] >= 2 for name in missing)


def test_a_family_opens_as_models_of_one_architecture_and_adapters_as_what_they_add(wild, truth):
    keys: dict[str | None, set[str]] = {}
    for name, model in truth.items():
        if model.present and model.relation == "adapter":
            adapter = _adapter(wild / name)
            told = model.details["rank"]
            assert {module.path: module.rank for module in adapter.modules} == (
                told if isinstance(told, dict) else {module.path: told for module in adapter.modules}
            )
        elif model.present:
            source = FolderSource(wild / name)
            tensor = next(iter(source.tensors.values()))
            assert source.read(tensor.name, 0, tensor.rows).shape == (tensor.rows, tensor.cols)
            keys.setdefault(model.family, set()).add(source.architecture.key)
    assert [len(found) for found in keys.values()] == [1] * len(keys)


def _adapter(home: Path) -> AdapterHeader:
    """What the crawler reads of an adapter's header."""
    with (home / "adapter_model.safetensors").open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    found = read_adapter(
        [
            TensorSpec(name, one["dtype"], tuple(one["shape"]), "adapter_model.safetensors", *one["data_offsets"])
            for name, one in header.items()
        ]
    )
    assert found is not None
    return found


def test_the_libraries_find_every_tensor_under_the_name_they_expect(wild, truth):
    loaders = {"bert": AutoModelForMaskedLM, "llama": AutoModelForCausalLM, "vit": AutoModelForImageClassification}
    read = 0
    for name, model in truth.items():
        if model.present and model.relation != "adapter" and model.details["layout"] != "renamed":
            headed = model.architecture != "vit" and AutoConfig.from_pretrained(wild / name).architectures[0]
            loader = AutoClassifier if "Classification" in str(headed) else loaders[str(model.architecture)]
            _, told = loader.from_pretrained(wild / name, output_loading_info=True)
            assert not told["missing_keys"]
            assert not told["unexpected_keys"]
            assert not told["mismatched_keys"]
            read += 1
    assert read > 10


def test_weights_are_stored_in_the_format_and_layout_told(wild, truth):
    for name, model in truth.items():
        if model.present:
            assert {weight.dtype for weight in _weights(wild, name).values()} == {DTYPES[model.details["dtype"]]}
            files = {path.name for path in (wild / name).glob("*.safetensors")}
            assert (len(files) > 1) == (model.details["layout"] == "sharded")


def test_an_adapter_s_configuration_names_the_modules_of_its_file_and_their_base_has_them(wild, truth):
    for name in (name for name, model in truth.items() if model.relation == "adapter"):
        config = json.loads((wild / name / "adapter_config.json").read_text())
        base = _weights(wild, next(iter(truth[name].parents)))
        modules = _adapter(wild / name).modules
        assert set(config["target_modules"]) == {module.path.rsplit(".", 1)[-1] for module in modules}
        for module in modules:
            assert base[f"{module.path}.weight"].shape == (module.rows, module.cols)
            assert config["rank_pattern"].get(module.path, config["r"]) == module.rank


@pytest.fixture(scope="module")
def adapted(tmp_path_factory) -> Path:
    """A family of BERT with rank-stabilised adapters of uneven ranks, in half precision."""
    home = tmp_path_factory.mktemp("adapted")
    make_wild(home, seed=ADAPTED, families=1, size=SMALL)
    return home


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # asked by PEFT itself
def test_peft_makes_of_base_and_adapter_what_the_training_reached(adapted):
    torch.set_num_threads(1)
    grown: dict[str, Grown] = {}
    checked = set()
    for member in plan_family(ADAPTED, 0, SMALL):
        made = grown[member.name] = grow(member, grown)
        if member.relation == "adapter" and not member.from_master:
            base = AutoModelForMaskedLM.from_pretrained(adapted / member.parents[0], dtype=torch.float32)
            before = {name: weight.detach().clone() for name, weight in base.named_parameters()}
            after = dict(PeftModel.from_pretrained(base, adapted / member.name).merge_and_unload().named_parameters())
            for name, weight in made.master.items():
                assert torch.allclose(after[name], weight, atol=2e-4)
            checked |= {_rank(after[name].detach() - before[name]) for name in before if before[name].ndim == 2}
    assert checked == {0, 8, 16}, "the pattern's rank, the adapter's, and none where nothing was adapted"


def _rank(step: Tensor) -> int:
    """The rank of a step, of which the weights' own float32 rounding is no part."""
    values = torch.linalg.svdvals(step.double())
    return int((values > 1e-6).sum())


def test_a_merged_adapter_is_a_step_of_its_rank_but_for_rounding(wild, truth):
    for model, child, parent in _pairs(wild, truth, "lora"):
        rank = model.details["rank"]
        most = rank if isinstance(rank, int) else max(rank.values())
        changed = 0
        for name, weight in child.items():
            if weight.ndim == 2 and weight.shape == parent[name].shape:
                values = torch.linalg.svdvals(weight.double() - parent[name].double())
                changed += bool(values[0] > 1e-3)
                assert values.square()[most:].sum() <= 0.2 * values.square().sum() or values[0] < 1e-3
        assert changed


def test_a_cast_is_torch_s_rounding(wild, truth):
    for model, child, parent in _pairs(wild, truth, "cast"):
        assert set(child) == set(parent)
        for name, weight in child.items():
            assert parent[name].dtype == torch.float32
            assert torch.equal(weight, parent[name].to(DTYPES[model.details["dtype"]]))


def test_a_duplicate_is_the_same_bits(wild, truth):
    for _, child, parent in _pairs(wild, truth, "duplicate"):
        assert set(child) == set(parent)
        assert all(_bits(child[name]) == _bits(parent[name]) for name in child)


def _bits(weight: Tensor) -> bytes:
    return weight.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def test_a_quantised_copy_has_few_levels_in_each_group_and_no_weight_leaves_half_a_step(wild, truth):
    for model, child, parent in _pairs(wild, truth, "quantized"):
        bits, block = model.details["bits"], model.details["block"]
        touched = [name for name, weight in parent.items() if is_copied_matrix(name, weight)]
        assert touched
        for name, weight in child.items():
            if name in touched:
                _check_groups(weight.double().numpy(), parent[name].double().numpy(), bits=bits, block=block)
            else:
                assert torch.equal(weight, parent[name].to(weight.dtype))


def _check_groups(copy: np.ndarray, plain: np.ndarray, *, bits: int, block: int | str) -> None:
    wide = copy.shape[1] if block == "row" else int(block)
    for start in range(0, copy.shape[1], wide):
        part, before = copy[:, start : start + wide], plain[:, start : start + wide]
        assert max(len(set(row)) for row in part.tolist()) <= 2**bits
        span = 2 * np.abs(before).max(1, keepdims=True)
        rounding = np.abs(before).max(1, keepdims=True) / 2**8
        assert (np.abs(part - before) <= span / (2**bits - 2) + rounding).all()


def test_a_pruned_copy_has_the_told_zeros_and_is_else_its_parent(wild, truth):
    for model, child, parent in _pairs(wild, truth, "pruned"):
        for name, weight in child.items():
            if not is_copied_matrix(name, parent[name]):
                assert torch.equal(weight, parent[name])
                continue
            kept = weight != 0
            assert torch.equal(weight[kept], parent[name][kept])
            assert float((~kept).double().mean()) == pytest.approx(model.details["sparsity"], abs=0.01)
            if model.details["pattern"] == "2:4":
                assert int(kept.reshape(-1, 4).sum(1).max()) <= 2


def test_a_linear_merge_is_the_weighted_sum_of_its_parents(wild, truth):
    merges = [name for name, model in truth.items() if model.details.get("method") == "linear"]
    assert merges
    for name in merges:
        shares = truth[name].parents
        assert sum(shares.values()) == pytest.approx(1)
        parents = {parent: _weights(wild, parent) for parent in shares}
        for tensor, weight in _weights(wild, name).items():
            whole = sum(share * parents[parent][tensor].double() for parent, share in shares.items())
            assert isinstance(whole, Tensor)
            assert torch.allclose(weight, whole.to(weight.dtype), rtol=2**-7, atol=1e-7)


def test_a_card_declares_what_was_planned_and_an_adapter_also_in_its_configuration(wild):
    for name, member in _plan().items():
        if member.present:
            card = (wild / name / "README.md").read_text()
            assert (f"\nbase_model: {member.declared}\n" in card) == bool(member.declared)
            if member.relation == "adapter":
                config = json.loads((wild / name / "adapter_config.json").read_text())
                assert config["base_model_name_or_path"] == member.declared


def test_what_is_there_is_left_alone_and_what_broke_off_is_built_again_to_the_same_bytes(adapted):
    before = {path: path.read_bytes() for path in adapted.glob("**/*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in before}
    make_wild(adapted, seed=ADAPTED, families=1, size=SMALL)
    assert {path: path.stat().st_mtime_ns for path in before} == times
    marker = adapted / MARKER
    marker.write_text(marker.read_text().replace('"complete": true', '"complete": false'))
    make_wild(adapted, seed=ADAPTED, families=1, size=SMALL)
    assert {path: path.read_bytes() for path in adapted.glob("**/*") if path.is_file()} == before


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="name another folder"):
        make_wild(tmp_path, seed=0, families=1, size=SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("architecture", ["llama", "bert", "vit", "conv", "gru", "lstm"])
def test_training_lowers_the_loss_on_batches_that_it_has_not_seen(architecture):
    torch.set_num_threads(1)
    shape, data = _kind(architecture)
    most = 200 if architecture == "vit" else 60
    recipe = Training(1, data, steps=most, rate=3e-3)
    losses = [_loss(shape, data, train(shape, None, replace(recipe, steps=steps)).state) for steps in (0, most)]
    assert losses[1] < losses[0] - 0.03


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.1), ("adafactor", 1e-2), ("sign-rows", 3e-3)])
def test_every_optimizer_lowers_the_loss_and_leaves_its_start_as_it_was(optimizer, rate):
    torch.set_num_threads(1)
    shape, data = _kind("llama")
    start = train(shape, None, Training(1, data, steps=20, rate=3e-3)).state
    before = {name: weight.clone() for name, weight in start.items()}
    tuned = train(shape, start, Training(2, data, steps=60, rate=rate, optimizer=optimizer)).state
    assert _loss(shape, data, tuned) < _loss(shape, data, start)
    assert all(torch.equal(start[name], before[name]) for name in start)
    moved = {name: (tuned[name] != start[name]).any(-1).float().mean() for name in start if start[name].ndim == 2}
    assert all(share < 0.2 if optimizer == "sign-rows" else share > 0.5 for share in moved.values())


@pytest.mark.parametrize("frozen", ["all-but-last-block", "all-but-attention", "embeddings"])
def test_what_is_frozen_stays(frozen):
    torch.set_num_threads(1)
    shape, data = _kind("bert")
    start = train(shape, None, Training(1, data, steps=2, rate=3e-3)).state
    tuned = train(shape, start, Training(2, data, steps=3, rate=3e-3, frozen=frozen)).state
    moved = {name for name in start if not torch.equal(tuned[name], start[name])}
    inside = {
        "all-but-last-block": {name for name in start if ".layer.1." in name},
        "all-but-attention": {name for name in start if ".attention." in name},
        "embeddings": {name for name in start if ".embeddings." not in name},
    }[frozen]
    assert moved
    assert moved <= inside


def test_a_training_in_pure_bfloat16_yields_bfloat16_weights():
    torch.set_num_threads(1)
    shape, data = _kind("llama")
    state = train(shape, None, Training(1, data, steps=3, rate=3e-3, pure_bf16=True)).state
    assert all(torch.equal(weight, weight.bfloat16().float()) for weight in state.values())


@pytest.mark.parametrize("architecture", ["llama", "bert", "gru"])
def test_a_resized_vocabulary_keeps_its_tokens_and_a_new_head_the_rest(architecture):
    torch.set_num_threads(1)
    shape, data = _kind(architecture)
    start = train(shape, None, Training(1, data, steps=2, rate=3e-3)).state
    untrained = Training(2, data, steps=0, rate=1e-3)
    wider = train(replace(shape, vocabulary=80), start, untrained).state
    assert {name for name in start if wider[name].shape != start[name].shape}
    assert all(torch.equal(wider[name][: len(start[name])], start[name]) for name in start)
    headed = train(replace(shape, classes=4), start, replace(untrained, steps=1)).state
    shared = [name for name in start if name in headed and headed[name].shape == start[name].shape]
    assert len(shared) > len(start) / 2
    assert all(torch.allclose(headed[name], start[name], atol=3e-3) for name in shared)
    assert any(len(weight) == 4 for weight in headed.values())


def test_a_training_that_diverges_is_repeated_more_slowly():
    torch.set_num_threads(1)
    shape, data = _kind("llama")
    trained = train(shape, None, Training(1, data, steps=8, rate=100.0, optimizer="sgd-unclipped"))
    assert trained.rate < 100
    assert np.isfinite(trained.loss)
    assert all(bool(weight.isfinite().all()) for weight in trained.state.values())


def test_the_plan_is_printed_without_training(capsys):
    print_plan(seed=SEED, families=FAMILIES, size=SMALL)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == list(_plan())
    assert sum("(left out)" in line for line in lines) == sum(not member.present for member in _plan().values())


def _kind(architecture: Architecture) -> tuple[NetShape, Data]:
    """A small network of an architecture, and what it learns."""
    if architecture in ("vit", "conv"):
        return NetShape(architecture, width=32, blocks=2, vocabulary=0, classes=8), Data("images", 3)
    return NetShape(architecture, width=32, blocks=2), Data("language", 3)


def _loss(shape: NetShape, data: Data, state: Weights) -> float:
    """The mean over batches of another seed than any training's, nats."""
    net = new_net(shape, seed=0)
    load_state(net, state)
    net.eval()
    with torch.no_grad():
        return float(np.mean([float(loss_of(net, batch)) for batch in islice(batches(data, shape, seed=99), 16)]))


@pytest.fixture(scope="module")
def kin() -> dict[str, Grown]:
    """A base and two models one step from it, of random weights."""
    generator = torch.Generator().manual_seed(5)
    names = [f"model.layers.{block}.mlp.up_proj.weight" for block in range(4)] + ["model.embed_tokens.weight"]
    base = {name: torch.randn(12, 16, generator=generator) for name in names}
    steps = [{name: base[name] + 0.1 * torch.randn(12, 16, generator=generator) for name in names} for _ in range(2)]
    return {f"o/{at}": Grown(state, state, (), {}) for at, state in enumerate([base, *steps])}


def _merged(kin: dict[str, Grown], making: Merging) -> Grown:
    created = datetime(2026, 1, 5, tzinfo=UTC)
    shape = NetShape("llama")
    return grow(
        Member("o/merge", "family", "merge", ("o/1", "o/2"), making, shape, "fp32", "single", created), dict(kin)
    )


@pytest.mark.parametrize(
    ("method", "told"),
    [("linear", (0.25, 0.75)), ("slerp", (0.25, 0.75)), ("task_arithmetic", (0.25, 0.75)), ("dare", (0.25, 0.75)),
     ("ties", (0.2, 0.6))],
)  # fmt: skip
def test_a_merge_is_made_tensor_by_tensor_and_told_with_its_parents_weights(kin, method, told):
    base = "o/0" if method in ("task_arithmetic", "dare", "ties") else None
    density, factor = (0.5, 0.8) if base and method != "task_arithmetic" else (1.0, 1.0)
    made = _merged(kin, Merging(method, (0.25, 0.75), 7, base, density, factor))
    assert made.weights == pytest.approx(told)
    assert made.details["method"] == method
    assert made.details.get("base") == base
    for place, (name, weight) in enumerate(made.stored.items()):
        zero, one, other = (kin[f"o/{at}"].stored[name].numpy() for at in range(3))
        wanted = {
            "linear": lambda a=one, b=other: 0.25 * a + 0.75 * b,
            "slerp": lambda a=one, b=other: slerp(a, b, t=0.75),
            "task_arithmetic": lambda z=zero, a=one, b=other: z + 0.25 * (a - z) + 0.75 * (b - z),
            "dare": lambda z=zero, a=one, b=other, p=place: dare(z, [a, b], (0.25, 0.75), density=0.5, seed=(7, p)),
            "ties": lambda z=zero, a=one, b=other: ties(z, [a, b], (0.25, 0.75), density=0.5, factor=0.8),
        }[method]()
        assert np.allclose(weight.numpy(), wanted, atol=1e-6)


def test_a_merge_of_layers_takes_whole_blocks_and_tells_each_parent_s_share(kin):
    for seed in range(8):
        made = _merged(kin, Merging("layers", (0.5, 0.5), seed))
        givers = [
            next(at for at in (1, 2) if torch.equal(weight, kin[f"o/{at}"].stored[name]))
            for name, weight in made.stored.items()
            if "layers" in name
        ]
        assert set(givers) == {1, 2}
        assert made.weights == (givers.count(1) / 4, givers.count(2) / 4)
        assert torch.equal(made.stored["model.embed_tokens.weight"], kin["o/1"].stored["model.embed_tokens.weight"])


def test_an_adapter_of_a_vit_names_unlike_modules_of_one_last_name_apart():
    paths = ["vit.layers.0.attention.o_proj", "vit.layers.0.mlp.fc1", "vit.layers.0.mlp.fc2"]
    adapter = Adapter(("o_proj", "fc1", "fc2"), 4, 8.0, rank_pattern=(("fc2", 2),))
    factors = {
        published_name(path, "vit"): (torch.zeros(adapter.rank_of(path), 8), torch.zeros(8, adapter.rank_of(path)))
        for path in paths
    }
    config = peft_config(adapter, base=None, ranks=ranks_of(peft_tensors(factors)))
    assert config["target_modules"] == ["dense"]
    assert config["rank_pattern"] == {"vit.encoder.layer.0.output.dense": 2}
