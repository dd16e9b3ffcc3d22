"""The command line over published indexes: what is printed where, and how each command ends."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from modelkin import __version__
from modelkin.cli.main import main, run
from storage.types import DeclaredBase, Skip
from tests.support.model_folder import write_models
from tests.support.small_index import build_index

ROOT = Path(__file__).parents[2]
PARENTS = {"a/root": None, "a/left": "a/root", "a/right": "a/root", "a/leaf": "a/left", "b/alone": None}
HOSTILE = "evil\x1b]0;owned\x07\u202e[bold red]"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("index")
    build_index(
        folder,
        PARENTS,
        details={
            "a/leaf": {"declared": (DeclaredBase("a/right"),), "licence": HOSTILE, "tags": ("red",)},
            "a/left": {"declared": (DeclaredBase(HOSTILE),)},
        },
        skips=[Skip("id-x", "x/gone", "r1", "crawl", "not_found", HOSTILE, False)],
    )
    return str(folder)


@pytest.fixture
def ask(index: str, capsys: pytest.CaptureFixture[str]):
    """Runs a command on the index: (exit status, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments, "--index", index])
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


def told_json(answer: tuple[int, str, str]):
    status, out, err = answer
    assert (status, err) == (0, "")
    return json.loads(out)


def test_a_tree_is_drawn_with_how_each_model_came_to_be(ask):
    status, out, err = ask("tree", "a/leaf")
    assert (status, err) == (0, "")
    assert [line.lstrip("├└│─ \u00a0").split("  ")[0] for line in out.splitlines()] == [
        "a/root",
        "a/left",
        "a/leaf",
        "a/right",
    ]
    assert "a/root  root, 80 % certain" in out
    assert "finetune, 90 % certain, by all weights" in out
    assert "! card names a relative, not the parent: a/right" in out


def test_all_trees_are_drawn_the_largest_first_up_to_the_limit(ask):
    _, both, _ = ask("tree")
    _, one, _ = ask("tree", "--limit", "1")
    assert both.startswith(one)
    assert "b/alone  no kin in the index" in both
    assert "b/alone" not in one


def test_a_tree_as_json_holds_models_and_verdicts_on_cards(ask):
    document = told_json(ask("tree", "a/root", "--json"))
    assert [model["repo_id"] for model in document["trees"][0]["models"]] == ["a/root", "a/left", "a/right", "a/leaf"]
    assert {card["repo_id"]: card["verdict"] for card in document["cards"]}["a/leaf"] == "kin"
    assert len(told_json(ask("tree", "--json"))["trees"]) == 2


@pytest.mark.parametrize(
    ("command", "kin"),
    [
        ("ancestors", [("a/left", "parent", 1), ("a/root", "grandparent", 2)]),
        ("descendants", []),
        ("relatives", [("a/left", "parent", 1), ("a/root", "grandparent", 2), ("a/right", "parent's sibling", 3)]),
    ],
)
def test_kin_are_listed_nearest_first(ask, command: str, kin: list[tuple[str, str, int]]):
    document = told_json(ask(command, "a/leaf", "--json"))
    assert [(item["model"], item["kinship"], item["distance"]) for item in document["relatives"]] == kin
    _, table, _ = ask(command, "a/leaf")
    assert all(name in table for name, _, _ in kin)


def test_search_tells_how_many_more_there_are(ask):
    assert [model["repo_id"] for model in told_json(ask("search", "red", "--json"))["models"]] == ["a/leaf"]
    assert "3 more: raise --limit" in ask("search", "a/", "--limit", "1")[1]


def test_sql_prints_a_table_or_a_document(ask):
    query = "SELECT model, depth, NULL AS nothing, [1, 2] AS list, 'nan'::DOUBLE AS n FROM ancestors('a/leaf')"
    document = told_json(ask("sql", query, "--json"))
    assert document["columns"] == ["model", "depth", "nothing", "list", "n"]
    assert document["rows"][0] == ["a/left", 1, None, [1, 2], None]
    assert document["truncated"] is False
    _, table, _ = ask("sql", query)
    assert "NULL" in table
    assert "1, 2" in table


def test_sql_says_where_it_stops(ask):
    _, out, _ = ask("sql", "FROM range(3)", "--max-rows", "2")
    assert "only the first 2 rows" in out
    assert told_json(ask("sql", "FROM range(3)", "--max-rows", "2", "--json"))["truncated"] is True
    assert len(told_json(ask("sql", "FROM range(1001)", "--json"))["rows"]) == 1001
    assert "only the first 1000 rows" in ask("sql", "FROM range(1001)")[1]


def test_sql_that_may_not_run_fails_in_one_line(ask):
    status, out, err = ask("sql", "DROP TABLE store.edge")
    assert (status, out) == (1, "")
    assert err.startswith("modelkin: only SELECT may run")
    status, _, err = ask("sql", "SELECT nonsense\nFROM models")
    assert status == 1
    assert err.count("\n") == 1
    assert "stopped after" in ask("sql", "FROM range(1000000000000) ORDER BY 1 DESC LIMIT 1", "--timeout", "0.1")[2]


@pytest.mark.parametrize("form", ["json", "csv", "newick", "graphml", "dot", "mermaid"])
def test_an_export_is_the_same_in_a_file_and_on_stdout(ask, tmp_path: Path, form: str):
    status, out, _ = ask("export", "--format", form)
    assert status == 0
    assert ask("export", "--format", form, "--output", str(tmp_path / "graph")) == (0, "", "")
    assert (tmp_path / "graph").read_bytes().decode() == out
    assert "a/leaf" in out


def test_parquet_goes_into_a_file_only(ask, tmp_path: Path):
    status, out, err = ask("export", "--format", "parquet")
    assert (status, out) == (2, "")
    assert "--output" in err
    assert ask("export", "--format", "parquet", "--output", str(tmp_path / "edges.parquet")) == (0, "", "")
    assert (tmp_path / "edges.parquet").read_bytes()[:4] == b"PAR1"


def test_the_index_is_judged_against_a_truth(ask, tmp_path: Path):
    (tmp_path / "truth.json").write_text(json.dumps(PARENTS | {"a/leaf": "a/right", "q/new": "a/root"}))
    document = told_json(ask("evaluate", str(tmp_path / "truth.json"), "--json"))
    assert (document["edges_right"], document["true_edges"], document["missing"]) == (2, 4, ["q/new"])
    _, out, _ = ask("evaluate", str(tmp_path / "truth.json"))
    assert "2 of 4" in out
    assert "not in the index: q/new" in out


def test_a_name_that_is_no_text_is_an_unknown_model(ask):
    name = os.fsdecode(b"a/\xff")
    for command in ("tree", "ancestors", "why"):
        status, out, err = ask(command, name)
        assert (status, out) == (2, "")
        assert "no model 'a/\\udcff'" in err
    assert ask("search", name)[0] == 0


def test_an_unknown_model_is_wrong_usage_and_is_told_what_comes_close(ask):
    for command in ("tree", "ancestors", "descendants", "relatives"):
        status, out, err = ask(command, "a/lefft")
        assert (status, out) == (2, "")
        assert "did you mean a/left" in err


def test_two_models_are_compared_by_path_without_an_index(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    write_models(tmp_path, {"o/root": None, "o/child": "o/root", "o/stranger": None})
    root, child, stranger = (str(tmp_path / name) for name in ("o/root", "o/child", "o/stranger"))
    assert main(["compare", root, child, "--index", str(tmp_path / "none")]) == 0
    out = capsys.readouterr().out
    assert f"{root} -> {child} (finetune" in out
    assert "nats" in out
    assert main(["compare", root, stranger]) == 0
    assert "are not kin" in capsys.readouterr().out
    assert main(["compare", root, root]) == 0
    assert "have identical weights" in capsys.readouterr().out
    assert main(["compare", root, child, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parent"] == root


def test_each_kind_of_pair_is_said_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    random = np.random.default_rng(0)
    weights = write_models(tmp_path, {"o/root": None})["o/root"]
    bits = {name: w.view(np.uint32) for name, w in weights.items()}
    rounded = {name: ((b + 0x7FFF + ((b >> 16) & 1)) & 0xFFFF0000).view(np.float32) for name, b in bits.items()}
    step = {name: random.normal(size=(48, 1)) @ random.normal(size=(1, 48)) for name in weights}
    made = {
        "cast": rounded,
        "pruned": {name: np.where(np.abs(w) < np.median(np.abs(w)), np.float32(0), w) for name, w in weights.items()},
        "lora": {name: (w + 0.1 * step[name]).astype(np.float32) for name, w in weights.items()},
        "stacked": weights | {name.replace(".1.", ".2."): w for name, w in weights.items() if ".1." in name},
    }
    told = {}
    for kind, tensors in made.items():
        save_file(tensors, tmp_path / f"{kind}.safetensors")
        assert main(["compare", str(tmp_path / "o/root"), str(tmp_path / f"{kind}.safetensors")]) == 0
        told[kind] = capsys.readouterr().out
    assert f"{tmp_path}/o/root rounds to the other, value by value: certain" in told["cast"]
    assert "has values where the other has zeros, and equals it elsewhere, value by value: certain" in told["pruned"]
    assert "the same weights with some set to zero (agreement 1, sparsity 0.5)" in told["pruned"]
    assert "low, as LoRA leaves it" in told["lora"]
    assert "a change of low rank, merged in" in told["lora"]
    assert f"stacked.safetensors was made from blocks of {tmp_path}/o/root (merge)" in told["stacked"]
    assert "not tested: different architectures" in told["stacked"]


def test_nothing_foreign_reaches_the_terminal_as_a_command(ask):
    for arguments in (
        ("tree",),
        ("sql", "FROM skips"),
        ("sql", "SELECT licence, declared_bases FROM models"),
        ("search", "red"),
    ):
        _, out, _ = ask(*arguments)
        assert "[bold red]" in out, "markup is shown, not obeyed"
        assert not {"\x1b", "\x07", "\u202e"} & set(out)
        assert "\\x1b" in out
    _, _, err = ask("tree", "x/gone")
    assert "\\x1b]0;owned\\x07\\u202e" in err
    assert "\x1b" not in err
    assert "\x1b" not in ask("sql", "SELECT licence FROM models", "--json")[1]


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["tree", "--nonsense"], ["sql"], ["tree", "--limit", "0"], ["export", "--format", "xml"]],
)
def test_wrong_usage_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Error" in told.err


def test_without_an_index_the_user_is_told_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MODELKIN_INDEX", str(tmp_path / "nowhere"))
    assert main(["tree"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert (
        told.err
        == f"modelkin: no index at {tmp_path}/nowhere: run `modelkin refresh HUB --index {tmp_path}/nowhere` first\n"
    )


def test_the_index_is_taken_from_the_environment(index: str, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODELKIN_INDEX", index)
    assert main(["tree", "a/root"]) == 0
    assert "a/leaf" in capsys.readouterr().out


def test_an_unexpected_error_is_one_line_and_a_traceback_only_when_asked_for(
    index: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("odd\nthing")

    monkeypatch.setattr("storage.lineage.tree_models", broken)
    assert main(["tree", "a/root", "--index", index]) == 1
    assert (
        capsys.readouterr().err == "modelkin: unexpected ZeroDivisionError: odd thing (modelkin --debug shows where)\n"
    )
    assert main(["--debug", "tree", "a/root", "--index", index]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"modelkin {__version__}\n"


def test_version_and_help_come_at_once():
    code = (
        "import sys; from modelkin.cli.main import main\n"
        "assert main(['--version']) == 0 and main(['--help']) == 0 and main(['refresh', '--help']) == 0\n"
        "heavy = {'torch', 'faiss', 'duckdb', 'scipy', 'numpy', 'aiohttp', 'rich.console'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("modelkin 0.")
    assert "Example: modelkin refresh" in told.stdout


def test_a_reader_that_stops_listening_is_no_error(index: str):
    code = "from modelkin.cli.main import run; run()"
    command = f'"{sys.executable}" -c "{code}" sql "FROM range(900000)" --json --index "{index}" | head -c 10'
    told = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert told.stdout == '{"columns"'
    assert "Traceback" not in told.stderr


def test_the_console_script_exits_with_the_status_and_survives_a_poor_terminal(
    index: str, monkeypatch: pytest.MonkeyPatch
):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    monkeypatch.setattr(sys, "argv", ["modelkin", "sql", "SELECT 'é\u2713' AS a", "--index", index])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 0
    assert b"\\xe9\\u2713" in raw.getvalue()


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path):
    write_models(tmp_path, {"o/root": None})
    code = "from modelkin.cli.main import run; run()"
    command = [sys.executable, "-c", code, "hub", str(tmp_path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as served:
        assert served.stdout is not None
        assert "http://127.0.0.1:" in served.stdout.readline()
        served.send_signal(2)
        _, err = served.communicate(timeout=60)
    assert served.returncode == 130
    assert err == "modelkin: stopped; what was committed stays, run the same command to go on\n"
