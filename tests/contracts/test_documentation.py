"""What is written about the data model and the command line is what there is, both ways."""

import re
from pathlib import Path

import pytest
import typer

from modelkin.cli.main import COMMANDS, app
from storage.database import Database
from storage.fenced_select import Heading, fenced_select
from storage.migrations import migrate
from tests.support.small_index import build_index

ROOT = Path(__file__).parents[2]
DATA_MODEL = (ROOT / "docs" / "data-model.md").read_text(encoding="utf-8")
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

Columns = list[tuple[str, str]]


def sections(text: str, part: str) -> dict[str, str]:
    """Title -> text of the `###` sections of one `##` part."""
    inside = text.split(f"## {part}\n", 1)[1].split("\n## ", 1)[0]
    found = re.split(r"^### (.+)$", inside, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def documented_columns(section: str) -> Columns:
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")][1:]
    return [(row[1].strip(), row[2].strip()) for row in rows]


@pytest.fixture(scope="module")
def database():
    opened = Database(Path(":memory:"))
    migrate(opened)
    yield opened
    opened.close()


def described(database: Database, source: str) -> Columns:
    return [(row[0], row[1]) for row in database.connection.execute(f"DESCRIBE FROM {source}").fetchall()]


def test_every_view_and_column_is_documented_and_nothing_else(database: Database):
    views = database.connection.execute(
        "SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'"
    ).fetchall()
    documented = {name: documented_columns(section) for name, section in sections(DATA_MODEL, "Views").items()}
    assert documented == {name: described(database, name) for (name,) in views}


def test_every_macro_and_column_is_documented_and_nothing_else(database: Database):
    macros = database.connection.execute(
        "SELECT function_name, parameters FROM duckdb_functions() WHERE function_type = 'table_macro' AND NOT internal"
    ).fetchall()
    actual = {
        f"{name}({', '.join(parameters)})": described(database, f"{name}({', '.join(['NULL'] * len(parameters))})")
        for name, parameters in macros
    }
    documented = {name: documented_columns(section) for name, section in sections(DATA_MODEL, "Macros").items()}
    assert documented == actual


def test_every_example_query_runs(tmp_path: Path):
    snapshot = build_index(tmp_path, {"org/name": None, "org/a": "org/name", "org/b": "org/name"})
    examples = re.findall(r"```sql\n(.+?)```", DATA_MODEL, flags=re.DOTALL)
    assert len(examples) == len(sections(DATA_MODEL, "Views")) + len(sections(DATA_MODEL, "Macros"))
    for example in examples:
        heading, *_ = fenced_select(snapshot, example, memory_bytes=10**9)
        assert isinstance(heading, Heading)


def test_every_reason_for_leaving_a_model_out_is_documented_and_nothing_else():
    pattern = r'(?:(?:ModelUnreadable|HeaderRejected|_reject)\(\s*|reason=|": \()"([a-z_0-9]+)"'
    packages = ("crawler", "modelkin", "recovery")
    sources = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    used = {
        reason
        for path in sources
        if "local_hub" not in path.parts
        for reason in re.findall(pattern, path.read_text(encoding="utf-8"))
    }
    part = DATA_MODEL.split("## Reasons in `skips`\n", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"^\| ([a-z_0-9]+) \|", part, flags=re.MULTILINE)) - {"reason"} == used


def test_every_command_with_its_options_is_documented_and_nothing_else():
    commands = typer.main.get_command(app).commands
    documented = {
        name: section
        for part in ("Making an index", "Asking it", "Serving and showing")
        for name, section in sections(CLI, part).items()
    }
    assert set(documented) == set(commands) == {name for name, _, _ in COMMANDS}
    for name, command in commands.items():
        usage = next(line for line in documented[name].splitlines() if line.startswith("    modelkin "))
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert set(re.findall(r"--[a-z-]+", usage)) == options - {"--help"}, name
        arguments = [parameter.metavar for parameter in command.params if parameter.param_type_name == "argument"]
        assert re.findall(r"(?<![-\w])\[?([A-Z][A-Za-z.]*)\]?", usage.split(" --")[0]) == arguments, name


def test_every_option_and_command_explains_itself():
    for name, command in typer.main.get_command(app).commands.items():
        assert command.help, name
        assert f"modelkin {name}" in command.epilog
        for parameter in command.params:
            assert parameter.help, (name, parameter.name)
