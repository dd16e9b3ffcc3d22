"""From files, card, configuration and hub.json to a repository: tags and lineage as the Hub infers them."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from crawler.local_hub.card import read_card, read_object, strings
from crawler.local_hub.documents import Documents
from crawler.local_hub.hub_file import ModelNotes, timestamp
from crawler.local_hub.repository import FileEntry, Repository

RELATIONS = ("adapter", "finetune", "merge", "quantized")
_QUANTIZED_TAGS = {"awq", "gguf", "gptq", "quantized"}
_ADAPTER_FILES = {"adapter_config.json", "adapter_model.bin", "adapter_model.safetensors"}
_LIBRARY_FILES = (("adapter_config.json", "peft"), ("model_index.json", "diffusers"), ("config.json", "transformers"))


def hub_id(repo_id: str, notes: ModelNotes) -> str:
    """24 hex digits: hub.json's, or creation time and a hash of the name, so that no other model's presence matters."""
    if notes.hub_id is not None:
        return notes.hub_id
    seconds = int(datetime.fromisoformat(notes.created_at).timestamp())
    return f"{seconds:08x}{hashlib.sha256(repo_id.encode()).hexdigest()[:16]}"


def describe(repo_id: str, files: Mapping[str, FileEntry], notes: ModelNotes, documents: Documents) -> Repository:
    """The repository with these files. Raises OSError when a document has gone since the scan."""
    card = notes.card if notes.card is not None else documents.read(files.get("README.md"), read_card)
    config = _config(files, documents)
    library = notes.library or _library(card, files, config)
    bases = tuple(dict.fromkeys(strings(card.get("base_model"))))
    relation = _relation(card, files, config, library) if bases else None
    return Repository(
        hub_id=hub_id(repo_id, notes),
        repo_id=repo_id,
        created_at=notes.created_at,
        last_modified=notes.last_modified or _last_change(files) or notes.created_at,
        files=files,
        fixed_sha=notes.sha,
        downloads=notes.downloads,
        likes=notes.likes,
        gated=notes.gated,
        disabled=notes.disabled,
        private=notes.private,
        tags=notes.tags if notes.tags is not None else _tags(card, files, library, _base_tags(bases, relation)),
        library=library,
        pipeline_tag=notes.pipeline_tag or _first(card.get("pipeline_tag")),
        card=card,
        config=config,
        bases=bases,
        relation=relation,
    )


def _last_change(files: Mapping[str, FileEntry]) -> str | None:
    if not files:
        return None
    newest_ns = max(entry.mtime_ns for entry in files.values())
    return timestamp(datetime.fromtimestamp(newest_ns // 10**6 / 1000, UTC))


def _config(files: Mapping[str, FileEntry], documents: Documents) -> Mapping[str, object]:
    """What the Hub extracts from the configurations: classes, type, quantisation, and an adapter's base."""
    told = documents.read(files.get("config.json"), read_object)
    adapter = documents.read(files.get("adapter_config.json"), read_object)
    config: dict[str, object] = {}
    if classes := strings(told.get("architectures")):
        config["architectures"] = classes
    if isinstance(told.get("model_type"), str):
        config["model_type"] = told["model_type"]
    quantization = told.get("quantization_config")
    if isinstance(quantization, dict) and isinstance(quantization.get("quant_method"), str):
        config["quantization_config"] = {"quant_method": quantization["quant_method"]}
    peft = {key: adapter[key] for key in ("base_model_name_or_path", "task_type") if isinstance(adapter.get(key), str)}
    return {**config, "peft": peft} if peft else config


def _library(card: Mapping[str, object], files: Iterable[str], config: Mapping[str, object]) -> str | None:
    if told := _first(card.get("library_name")):
        return told
    for name, library in _LIBRARY_FILES:
        if name in files and (library != "transformers" or "model_type" in config or "architectures" in config):
            return library
    return None


def _relation(
    card: Mapping[str, object], files: Iterable[str], config: Mapping[str, object], library: str | None
) -> str:
    """How the model came from its bases: the card's word, else the Hub's guess, which is sometimes wrong."""
    told = card.get("base_model_relation")
    if isinstance(told, str) and told in RELATIONS:
        return told
    tags = {tag.lower() for tag in strings(card.get("tags"))}
    if len(set(strings(card.get("base_model")))) > 1 or "merge" in tags:
        return "merge"
    if library == "peft" or "lora" in tags or _ADAPTER_FILES.intersection(files):
        return "adapter"
    if tags & _QUANTIZED_TAGS or "quantization_config" in config or any(path.endswith(".gguf") for path in files):
        return "quantized"
    return "finetune"


def _base_tags(bases: Iterable[str], relation: str | None) -> list[str]:
    plain = [f"base_model:{base}" for base in bases]
    return plain + [f"base_model:{relation}:{base}" for base in bases]


def _tags(
    card: Mapping[str, object], files: Iterable[str], library: str | None, base_tags: Iterable[str]
) -> tuple[str, ...]:
    """All tags in the Hub's order, each once: library, formats, the owner's, data sets, bases, licence, region."""
    formats = [name for name in ("safetensors", "gguf") if any(path.endswith(f".{name}") for path in files)]
    licences = [f"license:{licence}" for licence in strings(card.get("license"))]
    data_sets = [f"dataset:{name}" for name in strings(card.get("datasets"))]
    owners = strings(card.get("tags"))
    head = [library] if library else []
    return tuple(dict.fromkeys([*head, *formats, *owners, *data_sets, *base_tags, *licences, "region:us"]))


def _first(value: object) -> str | None:
    return next(iter(strings(value)), None)
