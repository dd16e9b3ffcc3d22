"""The parts of the miniature VTHR as folders: its roots, a split as a Hub, and the models behind single figures."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from transformers import ViTForImageClassification

from scripts.vthr.growing import pretrain, tune
from scripts.vthr.plan import Objective, Planned, Split, Training, VthrSize, plan_roots, plan_split
from storage.errors import UsageError

VERSION = 1
MARKER = ".modelkin-vthr.json"

Progress = Callable[[str], None]


def build_part(folder: Path, part: str, build: Callable[[Path], None], *, seed: int, size: VthrSize) -> None:
    """Builds `folder/part` unless it is there already, whole, of this seed and size.

    Raises `UsageError` where the folder holds something else.
    """
    home = folder / part
    wanted = json.loads(json.dumps({"version": VERSION, "seed": seed, "size": asdict(size), "complete": True}))
    found = _marker(home / MARKER)
    if found == wanted:
        return
    if found is None and home.exists() and any(home.iterdir()):
        raise UsageError(f"{home} is not empty and holds no part of a VTHR: name another folder")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    write_json(home / MARKER, wanted | {"complete": False})
    build(home)
    write_json(home / MARKER, wanted)


def build_roots(home: Path, *, seed: int, size: VthrSize, progress: Progress) -> None:
    """Pre-trains the roots that all splits share, one folder an objective."""
    for objective, training in plan_roots(size, seed=seed).items():
        pretrain(training, objective, size.shape).save_pretrained(home / objective)
        progress(f"root by {objective}: {training.steps} steps")


def build_split(home: Path, split: Split, *, roots: Path, seed: int, size: VthrSize, progress: Progress) -> None:
    """Trains one split and lays it out as a Hub, with `hub.json` and `truth.json`."""
    planned = plan_split(split, size, seed=seed)
    grown: dict[str, Any] = {}
    for place, one in enumerate(planned, start=1):
        if one.parent is None:
            model = ViTForImageClassification.from_pretrained(roots / one.family)
        else:
            model = tune(grown[one.parent], one.training)
        grown[one.name] = model
        model.save_pretrained(home / one.name)
        (home / one.name / "README.md").write_text(_card(one), encoding="utf-8")
        progress(f"{split} {one.name} ({place} of {len(planned)})")
    write_json(home / "hub.json", {"models": {one.name: _listing(one) for one in _by_age(planned)}})
    write_json(
        home / "truth.json", {"version": 2, "models": {one.name: _truth(one) for one in sorted(planned, key=_name)}}
    )


def build_figures(home: Path, *, roots: Path, seed: int, size: VthrSize, progress: Progress) -> None:
    """The models of single figures, each a folder with a checkpoint.

    `pretraining/<step>`: the first root along its training. `tuning-<n>/<step>`: fine-tunings of it, from its last
    weights on. `similar/<n>`: roots with its objective and data from other seeds, `similar/<n>-<child>` their children.
    """
    first, training = next(iter(plan_roots(size, seed=seed).items()))
    pretrain(training, first, size.shape, watch=_saving(home / "pretraining", training, size))
    progress("checkpoints of a pre-training")
    root = ViTForImageClassification.from_pretrained(roots / first)
    children = [one.training for one in plan_split("FT", size, seed=seed) if one.parent is not None]
    for number, tuning in enumerate(children[: size.tunings]):
        tune(root, tuning, watch=_saving(home / f"tuning-{number}", tuning, size))
        progress(f"checkpoints of fine-tuning {number}")
    for number in range(size.similar):
        _similar(home / "similar", number, first, training, children, size)
        progress(f"similar root {number}")


def _similar(
    home: Path, number: int, objective: Objective, training: Training, children: list[Training], size: VthrSize
) -> None:
    """Tree `number` of similar ones: same data and objective as the first root, another seed, as many children."""
    alike = Training(training.seed + 1 + number, training.steps, training.rate, training.task)
    root = pretrain(alike, objective, size.shape)
    root.save_pretrained(home / str(number))
    for place in range(size.fan[0]):
        child = tune(root, children[number * size.fan[0] + place])
        child.save_pretrained(home / f"{number}-{place}")


def _saving(home: Path, training: Training, size: VthrSize) -> Callable[[Any, int], None]:
    """Saves a model whenever one of the evenly spread checkpoints is due, the start and the end among them."""
    due = {round(training.steps * place / size.checkpoints) for place in range(size.checkpoints + 1)}

    def save(model: Any, done: int) -> None:  # noqa: ANN401 - transformers ships no types
        if done in due:
            model.save_pretrained(home / f"{done:06d}")

    return save


def _truth(one: Planned) -> dict[str, object]:
    training = one.training
    details: dict[str, object] = {"steps": training.steps, "rate": training.rate}
    if one.parent is None:
        details["objective"] = one.family
    if training.rank is not None:
        details["rank"] = training.rank
    kind = "finetune" if training.rank is None else "lora"
    return {
        "family": one.family,
        "architecture": "vit",
        "present": True,
        "relation": kind if one.parent else None,
        "parents": {one.parent: 1.0} if one.parent else {},
        "details": details,
    }


def _listing(one: Planned) -> dict[str, object]:
    """What a Hub knows of a model beyond its files."""
    times = (one.created, one.created + timedelta(hours=2))
    created, modified = (time.strftime("%Y-%m-%dT%H:%M:%S.000Z") for time in times)
    return {"createdAt": created, "lastModified": modified, "downloads": 0, "likes": 0}


def _card(one: Planned) -> str:
    head = ["---", "library_name: transformers", "pipeline_tag: image-classification", "---"]
    return "\n".join([*head, f"# {one.name.split('/')[1]}", "", "A small Vision Transformer.", ""])


def _by_age(planned: Iterable[Planned]) -> list[Planned]:
    return sorted(planned, key=lambda one: one.created)


def _name(one: Planned) -> str:
    return one.name


def _marker(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """What an earlier build left; None where there is no readable marker."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(path: Path, value: object) -> None:
    """Writes a value as readable JSON."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
