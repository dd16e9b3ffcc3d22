"""The wild set: small families really trained, laid out and read back; copies and merges held to what they say."""

import json
from collections import Counter
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
from scripts.make_wild import make_wild
from scripts.training.nets import is_copied_matrix
from scripts.wild.folders import MARKER
from scripts.wild.growing import Grown, grow
from scripts.wild.members import SMALL, Member
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
