import pytest
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn

from crawler.adapter_header import read_adapter
from storage.errors import ModelUnreadable
from tests.support import architectures
from tests.support.headers import specs_of

Q = "base_model.model.layers.0.q"
PAIR = {f"{Q}.lora_A.weight": (4, 64), f"{Q}.lora_B.weight": (32, 4)}


def modules(shapes, dtype="F32"):
    return read_adapter(specs_of(shapes, dtype=dtype)).modules


class Net(nn.Module):
    """One of each kind of module that PEFT adapts."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(100, 24)
        self.q = nn.Linear(24, 40)
        self.conv = nn.Conv2d(3, 8, (3, 5))
        self.head = nn.Linear(40, 7)


@pytest.mark.parametrize("dora", [False, True])
def test_what_peft_writes_is_read_as_it_was_configured(tmp_path, dora):
    settings = LoraConfig(
        r=4,
        rank_pattern={"q": 6},
        target_modules=["tokens", "q", "conv"],
        modules_to_save=["head"],
        use_dora=dora,
    )
    get_peft_model(Net(), settings).save_pretrained(tmp_path)
    shapes = {name: tuple(w.shape) for name, w in load_file(tmp_path / "adapter_model.safetensors").items()}
    header = read_adapter(specs_of(shapes))
    found = {module.path: (module.rank, module.rows, module.cols, module.dora) for module in header.modules}
    assert found == {"tokens": (4, 100, 24, dora), "q": (6, 40, 24, dora), "conv": (4, 8, 45, dora)}
    assert set(header.saved) == {"head.weight", "head.bias"}


def test_every_adapted_module_is_found():
    found = modules(architectures.lora(rank=2, layers=3))
    assert [(m.path, m.rank, m.rows, m.cols) for m in found[:2]] == [
        ("model.layers.0.self_attn.q_proj", 2, 64, 64),
        ("model.layers.0.self_attn.v_proj", 2, 64, 64),
    ]
    assert len(found) == 6


def test_the_name_of_one_of_several_adapters_is_no_part_of_the_module():
    shapes = {name.replace(".weight", ".default.weight"): shape for name, shape in PAIR.items()}
    assert modules(shapes) == modules(PAIR)


def test_the_bias_of_a_factor_is_no_factor():
    header = read_adapter(specs_of(PAIR | {f"{Q}.lora_B.bias": (32,)}))
    assert header.modules == modules(PAIR)
    assert header.saved == ("layers.0.q.lora_B.bias",)


def test_other_methods_than_low_rank_are_no_adapted_modules():
    assert read_adapter(specs_of({"base_model.model.layers.0.ia3_l": (64, 1)})) is None


BAD = {
    "A without B": ({f"{Q}.lora_A.weight": (4, 64)}, "adapter_unpaired"),
    "B without A": ({f"{Q}.lora_B.weight": (64, 4)}, "adapter_unpaired"),
    "factors of two kinds": (
        {f"{Q}.lora_A.weight": (4, 64), f"{Q}.lora_embedding_B": (64, 4)},
        "adapter_unpaired",
    ),
    "a magnitude alone": (PAIR | {"base_model.model.other.lora_magnitude_vector": (64,)}, "adapter_unpaired"),
    "unequal ranks": ({f"{Q}.lora_A.weight": (4, 64), f"{Q}.lora_B.weight": (32, 5)}, "adapter_ranks_disagree"),
    "a second factor that is no matrix": (
        {f"{Q}.lora_A.weight": (4, 64), f"{Q}.lora_B.weight": (32, 4, 2)},
        "adapter_ranks_disagree",
    ),
    "a vector": ({f"{Q}.lora_A.weight": (4,), f"{Q}.lora_B.weight": (32, 4)}, "adapter_bad_factor"),
    "nothing": ({f"{Q}.lora_A.weight": (0, 64), f"{Q}.lora_B.weight": (32, 0)}, "adapter_bad_factor"),
    "two of one": (PAIR | {f"{Q}.lora_A.other.weight": (4, 64)}, "adapter_bad_factor"),
    "twice": (PAIR | {f"{Q}.lora_embedding_A": (4, 64), f"{Q}.lora_embedding_B": (32, 4)}, "adapter_bad_factor"),
    "no module": ({"lora_A.weight": (4, 64), "lora_B.weight": (32, 4)}, "adapter_bad_factor"),
    "an overlong name": (PAIR | {"x" * 10_000: (1,)}, "adapter_bad_name"),
    "an unprintable name": (PAIR | {"a\u202eb.lora_A.weight": (1,)}, "adapter_bad_name"),
}


@pytest.mark.parametrize(("shapes", "reason"), BAD.values(), ids=BAD)
def test_a_header_that_no_adapter_has_is_refused(shapes, reason):
    with pytest.raises(ModelUnreadable) as caught:
        read_adapter(specs_of(shapes))
    assert caught.value.reason == reason
    assert len(caught.value.detail) < 400
    assert caught.value.detail.isprintable()


def test_whole_numbers_are_no_factors():
    with pytest.raises(ModelUnreadable, match="no factor"):
        modules(PAIR, dtype="I32")
