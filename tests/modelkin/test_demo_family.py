import json
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from modelkin.demo.family import MARKER, build_demo
from modelkin.demo.members import DAMAGED, MEMBERS, NON_COMMERCIAL, DemoSize, Member
from storage.errors import UsageError

MINIATURE = DemoSize(hidden=32, layers=2, root_steps=6, child_steps=4)


def build(folder: Path, *, seed: int = 0) -> list[str]:
    told: list[str] = []
    build_demo(folder, seed=seed, progress=told.append, size=MINIATURE)
    return told


def weights(folder: Path, repo_id: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in sorted((folder / repo_id).glob("*.safetensors")):
        found |= load_file(path)
    return found


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def card(folder: Path, repo_id: str) -> dict[str, str]:
    return yaml.safe_load((folder / repo_id / "README.md").read_text().split("---")[1])


def made_by(making: str) -> list[Member]:
    return [member for member in MEMBERS if member.making == making]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "new"
    assert len(build(folder)) == len(MEMBERS)
    return folder


def test_every_member_has_weights_configuration_and_card(demo: Path) -> None:
    for member in MEMBERS:
        assert weights(demo, member.repo_id)
        config = json.loads((demo / member.repo_id / "config.json").read_text())
        assert config["model_type"] == member.model_type
        assert card(demo, member.repo_id).get("license") == member.licence


def test_the_truth_names_every_member_once_and_no_damaged_one(demo: Path) -> None:
    truth = json.loads((demo / "truth.json").read_text())
    assert truth == {member.repo_id: member.parent for member in MEMBERS}
    assert DAMAGED not in truth


def test_parents_are_created_before_their_children(demo: Path) -> None:
    listing = json.loads((demo / "hub.json").read_text())["models"]
    assert set(listing) == {member.repo_id for member in MEMBERS} | {DAMAGED}
    for member in MEMBERS:
        if member.parent:
            assert listing[member.parent]["createdAt"] < listing[member.repo_id]["createdAt"]


def test_full_fine_tuning_moves_every_matrix(demo: Path) -> None:
    for member in made_by("finetune"):
        parent, child = weights(demo, str(member.parent)), weights(demo, member.repo_id)
        assert parent.keys() == child.keys()
        assert all(not torch.equal(parent[name], child[name]) for name in parent if parent[name].ndim == 2)


def test_merged_adapters_change_attention_alone_and_at_low_rank(demo: Path) -> None:
    for member in made_by("lora"):
        parent, child = weights(demo, str(member.parent)), weights(demo, member.repo_id)
        changed = {name: child[name] - parent[name] for name in parent if not torch.equal(parent[name], child[name])}
        assert changed
        assert all("self_attn" in name for name in changed)
        assert all(torch.linalg.matrix_rank(step, rtol=1e-3) <= 4 for step in changed.values())


def test_the_cast_holds_its_source_rounded(demo: Path) -> None:
    (member,) = made_by("cast")
    source, rounded = weights(demo, str(member.parent)), weights(demo, member.repo_id)
    assert all(torch.equal(rounded[name], source[name].to(torch.bfloat16)) for name in source)


def test_the_mirror_holds_the_same_weight_file(demo: Path) -> None:
    (member,) = made_by("copy")
    one, other = (demo / str(name) / "model.safetensors" for name in (member.parent, member.repo_id))
    assert one.read_bytes() == other.read_bytes()


def test_one_child_is_stored_in_shards(demo: Path) -> None:
    (member,) = [member for member in MEMBERS if member.sharded]
    assert len(list((demo / member.repo_id).glob("model-*.safetensors"))) > 1
    assert (demo / member.repo_id / "model.safetensors.index.json").is_file()
    assert weights(demo, member.repo_id).keys() == weights(demo, str(member.parent)).keys()


def test_the_damaged_upload_cannot_be_read(demo: Path) -> None:
    with pytest.raises(SafetensorError):
        load_file(demo / DAMAGED / "model.safetensors")


def test_cards_lie_in_every_way_the_demo_promises(demo: Path) -> None:
    declared = {member.repo_id: card(demo, member.repo_id).get("base_model") for member in MEMBERS}
    parent = {member.repo_id: member.parent for member in MEMBERS}
    wrong = {name: base for name, base in declared.items() if base and base != parent[name]}
    assert any(base == parent[str(parent[name])] for name, base in wrong.items())  # the grandparent
    assert any(
        base in parent and parent[base] is None and base != parent[str(parent[name])] for name, base in wrong.items()
    )
    assert any(base not in parent for base in wrong.values())  # a name that does not exist
    assert any(base == name for name, base in wrong.items())  # itself
    assert any(parent[name] and not base for name, base in declared.items())  # silent
    assert sum(parent[name] is not None and parent[name] == base for name, base in declared.items()) >= 5


def test_descendants_of_a_non_commercial_root_hide_its_licence() -> None:
    licence = {member.repo_id: member.licence for member in MEMBERS}
    parent = {member.repo_id: member.parent for member in MEMBERS}
    assert any(
        licence[name] != NON_COMMERCIAL and base and licence[base] == NON_COMMERCIAL for name, base in parent.items()
    )


def test_the_same_seed_gives_the_same_files_and_another_seed_others(demo: Path, tmp_path: Path) -> None:
    build(tmp_path)
    assert digests(tmp_path) == digests(demo)
    build(tmp_path, seed=1)
    changed = digests(tmp_path)
    root = f"{MEMBERS[0].repo_id}/model.safetensors"
    assert changed[root] != digests(demo)[root]
    assert changed.keys() == digests(demo).keys()


def test_a_finished_demo_is_left_as_it_is(demo: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    (told,) = build(demo)
    assert "already" in told
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def test_an_interrupted_demo_is_built_again(tmp_path: Path) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo(tmp_path, progress=stop, size=MINIATURE)
    assert (tmp_path / MEMBERS[0].repo_id).is_dir()
    build(tmp_path)
    assert json.loads((tmp_path / MARKER).read_text())["complete"]


def test_a_folder_with_other_things_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(UsageError, match="another folder"):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_missing_extra_is_named_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"pip install 'modelkin\[demo\]'"):
        build(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_building_prints_nothing_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build(tmp_path)
    assert capfd.readouterr() == ("", "")
