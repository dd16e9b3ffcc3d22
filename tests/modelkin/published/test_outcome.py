"""The published cases over hand-made models under their names: what is asked, judged, and told to be missing."""

import json
from pathlib import Path

import pytest

from crawler.local_hub import HubOptions, LocalHub
from modelkin.cli.machine_options import size_in_bytes
from modelkin.cli.main import main
from modelkin.published.cases import CASES, case_named
from storage.errors import UsageError
from tests.support.model_folder import write_models

LLAMA, CODE = "meta-llama/Llama-2-7b-hf", "codellama/CodeLlama-7b-hf"
INSTRUCT, PYTHON = "codellama/CodeLlama-7b-Instruct-hf", "codellama/CodeLlama-7b-Python-hf"
CHAT = "meta-llama/Llama-2-7b-chat-hf"
LLAMAS = {LLAMA: None, CODE: LLAMA, CHAT: LLAMA, INSTRUCT: CODE, PYTHON: CODE, "someone/else": LLAMA}
RUNWAY, MIRROR = "runwayml/stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5"
V1, V2, V3, V4 = (f"CompVis/stable-diffusion-v1-{number}" for number in (1, 2, 3, 4))


def write_hub(folder: Path, parents: dict[str, str | None], **models: dict[str, object]) -> Path:
    folder.mkdir()
    write_models(folder, parents)
    notes = json.loads((folder / "hub.json").read_text())
    for name, told in models.items():
        notes["models"][name.replace("__", "/")] |= told
    (folder / "hub.json").write_text(json.dumps(notes))
    return folder


def reproduce(case: str, hub: str, index: Path, capsys: pytest.CaptureFixture[str], *, status: int = 0) -> dict:
    assert main(["reproduce", case, hub, "--index", str(index), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def scores(outcome: dict, reading: int, method: str) -> tuple[int, int]:
    found = next(one for one in outcome["readings"][reading]["scores"] if one["method"] == method)
    return found["right"], found["edges"]


def test_the_tree_of_a_case_is_found_and_nothing_else_is_read(tmp_path, capsys):
    with LocalHub(write_hub(tmp_path / "hub", LLAMAS), options=HubOptions()) as hub:
        outcome = reproduce("llama2", hub.endpoint, tmp_path / "index", capsys)
    assert {m["model"]: m["parents"]["kin"] for m in outcome["models"]} == {
        child: parent for child, parent in LLAMAS.items() if child != "someone/else"
    }
    assert scores(outcome, 0, "kin") == (4, 4)
    assert scores(outcome, 1, "kin") == (3, 4)
    assert {m["evidence"] for m in outcome["models"]} - {None} == {"exact"}
    assert outcome["left_out"] == []


def test_a_second_run_reads_nothing_and_says_the_same(tmp_path, capsys):
    with LocalHub(write_hub(tmp_path / "hub", LLAMAS), options=HubOptions()) as hub:
        first, second = (reproduce("llama2", hub.endpoint, tmp_path / "index", capsys) for _ in range(2))
    assert first == second


def test_the_paper_gives_every_model_but_one_a_parent_of_the_same_tree(tmp_path, capsys):
    with LocalHub(write_hub(tmp_path / "hub", LLAMAS), options=HubOptions()) as hub:
        outcome = reproduce("llama2", hub.endpoint, tmp_path / "index", capsys)
    for method in ("mother, specialising", "mother, generalising"):
        parents = {m["model"]: m["parents"][method] for m in outcome["models"]}
        assert sum(parent is None for parent in parents.values()) == 1
        assert set(parents.values()) - {None} <= set(parents)


def test_gated_and_missing_repositories_are_named_with_what_to_do_and_the_rest_goes_on(tmp_path, capsys):
    there = {name: parent for name, parent in LLAMAS.items() if name != PYTHON}
    folder = write_hub(tmp_path / "hub", there, **{LLAMA: {"gated": "manual"}})
    with LocalHub(folder, options=HubOptions()) as hub:
        outcome = reproduce("llama2", hub.endpoint, tmp_path / "index", capsys, status=3)
    told = dict(outcome["left_out"])
    assert set(told) == {LLAMA, PYTHON}
    assert "licence" in told[LLAMA]
    assert "gone" in told[PYTHON]
    assert scores(outcome, 0, "kin")[1] == 1


def test_a_mirror_stands_in_for_a_repository_that_is_gone(tmp_path, capsys):
    tree = {V1: None, V2: V1, V3: V2, V4: V2, MIRROR: V2}
    with LocalHub(write_hub(tmp_path / "hub", tree), options=HubOptions()) as hub:
        outcome = reproduce("stable-diffusion", hub.endpoint, tmp_path / "index", capsys)
    assert outcome["left_out"] == []
    assert outcome["readings"][0]["parents"][MIRROR] == V2
    assert scores(outcome, 0, "kin") == (4, 4)


def test_a_mirror_beside_its_original_is_the_same_model(tmp_path, capsys):
    folder = write_hub(tmp_path / "hub", {V1: None, V2: V1, V3: V2, V4: V2, RUNWAY: V2})
    (folder / MIRROR).mkdir(parents=True)
    for file in (folder / RUNWAY).iterdir():
        (folder / MIRROR / file.name).write_bytes(file.read_bytes())
    with LocalHub(folder, options=HubOptions()) as hub:
        outcome = reproduce("stable-diffusion", hub.endpoint, tmp_path / "index", capsys)
    assert MIRROR not in {m["model"] for m in outcome["models"]}
    assert scores(outcome, 0, "kin") == (4, 4)


def test_a_budget_too_small_leaves_the_trees_on_samples(tmp_path, capsys):
    with LocalHub(write_hub(tmp_path / "hub", LLAMAS), options=HubOptions()) as hub:
        place = ["--index", str(tmp_path / "index"), "--budget", "1KiB"]
        assert main(["reproduce", "llama2", hub.endpoint, *place]) == 0
    told = capsys.readouterr().out
    assert "4 of 4 edges right" in told
    assert "a larger --budget" in told
    assert "Python straight from Llama 2" in told


def test_an_organisation_is_judged_by_what_its_cards_declare(tmp_path, capsys):
    folder = tmp_path / "hub"
    folder.mkdir()
    tree = {"MoTHer-VTHR/a": None, "MoTHer-VTHR/b": "MoTHer-VTHR/a", "other/c": "MoTHer-VTHR/a"}
    write_models(folder, tree, cards={"MoTHer-VTHR/b": "base_model: MoTHer-VTHR/a"})
    with LocalHub(folder, options=HubOptions()) as hub:
        outcome = reproduce("vthr", hub.endpoint, tmp_path / "index", capsys)
    assert [m["model"] for m in outcome["models"]] == ["MoTHer-VTHR/a", "MoTHer-VTHR/b"]
    assert scores(outcome, 0, "kin")[1] == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_reading_names_the_models_that_are_asked_for_and_has_one_root(case):
    assert bool(case.repositories) != bool(case.owner)
    for reading in case.readings:
        assert set(reading.parents) == set(case.repositories)
        assert [child for child, parent in reading.parents.items() if parent is None] == [case.repositories[0]]
        assert set(reading.parents.values()) - {None} <= set(reading.parents)
    assert set(case.mirrors.values()) <= set(case.repositories)


def test_an_unknown_case_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="llama2, stable-diffusion, vthr"):
        case_named("gpt5")


def test_a_size_is_bytes_with_a_unit():
    assert [size_in_bytes(text) for text in ("7", "2 GiB", "500MiB")] == [7, 2**31, 500 * 2**20]
    for wrong in ("", "-1", "2GB", "1.5GiB", "٣"):
        with pytest.raises(UsageError, match="no size"):
            size_in_bytes(wrong)
