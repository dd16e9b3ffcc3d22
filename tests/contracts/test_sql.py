"""Every SQL file is a statement that DuckDB accepts on the schema, and the schema can be reached from any older one."""

from pathlib import Path

import pytest

from storage.database import Database, statement
from storage.migrations import all_migrations, migrate

ROOT = Path(__file__).parents[2]
QUERIES = sorted(path.stem for path in (ROOT / "storage" / "sql" / "queries").glob("*.sql"))


@pytest.fixture
def database():
    opened = Database(Path(":memory:"))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", [name for name in QUERIES if name != "create_schema_version"])
def test_every_query_prepares_on_an_empty_schema(database: Database, name: str):
    migrate(database)
    database.connection.execute(f"PREPARE prepared AS {statement(name)}")


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_is_used(name: str):
    packages = ("storage", "modelkin")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert any(f'"{name}"' in path.read_text(encoding="utf-8") for path in sources)


@pytest.mark.parametrize("start", range(len(all_migrations()) + 1))
def test_every_older_schema_is_brought_to_the_newest(database: Database, start: int):
    database.write("create_schema_version")
    for migration in all_migrations()[:start]:
        database.script(migration.text)
        database.write("record_migration", number=migration.number, name=migration.name)
    assert migrate(database) == all_migrations()[-1].number
    assert database.connection.execute("SELECT count(*) FROM models").fetchall() == [(0,)]


def test_migrations_are_numbered_without_gaps():
    assert [migration.number for migration in all_migrations()] == list(range(1, len(all_migrations()) + 1))
