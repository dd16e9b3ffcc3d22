import json
import os

import pytest

from crawler.local_hub.state import HubState


@pytest.fixture
def described(root, add_model):
    def describe(files):
        add_model("org/m", files)
        return HubState(root).repository("org/m")

    return describe


def test_a_model_without_any_words_has_the_hubs_oldest_date_and_a_stable_identity(described, root, add_model):
    repo = described({"model.safetensors": b"x"})
    assert repo.created_at == "2022-03-02T23:29:04.000Z"
    assert repo.hub_id.startswith("621ffdc0")
    assert len(repo.hub_id) == 24
    assert repo.tags == ("safetensors", "region:us")
    add_model("aaa/first")
    assert HubState(root).repository("org/m").hub_id == repo.hub_id


def test_last_modified_is_that_of_the_newest_file_in_milliseconds(described, root):
    described({"a.txt": "a", "b.txt": "b"})
    os.utime(root / "org/m/a.txt", ns=(0, 1_700_000_000_123_999_999))
    os.utime(root / "org/m/b.txt", ns=(0, 1_600_000_000_000_000_000))
    assert HubState(root).repository("org/m").last_modified == "2023-11-14T22:13:20.123Z"


def test_tags_tell_library_format_owner_bases_and_licence(described):
    card = "---\nlicense: mit\ntags: [chat, chat]\ndatasets: d/s\nbase_model: a/b\npipeline_tag: text-generation\n---\n"
    config = json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 5})
    repo = described({"README.md": card, "config.json": config, "model.safetensors": b"x"})
    assert repo.tags == (
        "transformers", "safetensors", "chat", "dataset:d/s", "base_model:a/b", "base_model:finetune:a/b",
        "license:mit", "region:us",
    )  # fmt: skip
    assert repo.config == {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    assert (repo.library, repo.pipeline_tag, repo.relation) == ("transformers", "text-generation", "finetune")


@pytest.mark.parametrize(
    ("card", "files", "relation"),
    [
        ("base_model: a/b", {}, "finetune"),
        ("base_model: [a/b, c/d]", {}, "merge"),
        ("base_model: [a/b, a/b]", {}, "finetune"),
        ("base_model: a/b\ntags: [merge]", {}, "merge"),
        ("base_model: a/b", {"adapter_config.json": "{}"}, "adapter"),
        ("base_model: a/b\ntags: [LoRA]", {}, "adapter"),
        ("base_model: a/b\nlibrary_name: peft", {}, "adapter"),
        ("base_model: a/b", {"m.Q4_0.gguf": "x"}, "quantized"),
        ("base_model: a/b\ntags: [gptq]", {}, "quantized"),
        ("base_model: a/b", {"config.json": '{"quantization_config": {"quant_method": "awq"}}'}, "quantized"),
        ("base_model: a/b\nbase_model_relation: quantized", {"adapter_config.json": "{}"}, "quantized"),
        ("base_model: a/b\nbase_model_relation: cousin", {}, "finetune"),
        ("base_model: {a: b}", {}, None),
        ("license: mit", {}, None),
    ],
)
def test_the_relation_is_the_cards_word_or_the_hubs_guess(described, card, files, relation):
    repo = described({"README.md": f"---\n{card}\n---\n", **files})
    assert repo.relation == relation
    assert {tag.split(":")[1] for tag in repo.tags if tag.count(":") == 2} == ({relation} if relation else set())


def test_an_adapters_configuration_is_shown_where_it_is_text(described):
    adapter = json.dumps({"base_model_name_or_path": "a/b", "task_type": None})
    repo = described({"adapter_config.json": adapter, "config.json": '{"model_type": 3, "architectures": null}'})
    assert repo.config == {"peft": {"base_model_name_or_path": "a/b"}}
    assert repo.library == "peft"


def test_hub_json_overrules_the_card(described, tell):
    tell({"org/m": {"tags": ["only"], "library_name": "x", "pipeline_tag": "y", "cardData": {"base_model": "z/z"}}})
    repo = described({"README.md": "---\nbase_model: a/b\nlibrary_name: q\n---\n"})
    assert (repo.tags, repo.library, repo.pipeline_tag, repo.bases) == (("only",), "x", "y", ("z/z",))


def test_a_changed_card_is_read_again(described, root):
    described({"README.md": "---\nlicense: mit\n---\n"})
    state = HubState(root)
    assert state.repository("org/m").card == {"license": "mit"}
    (root / "org/m/README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert state.repository("org/m").card == {"license": "apache-2.0"}
