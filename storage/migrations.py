"""Brings a catalog to the schema this version writes: each migration and its record in one transaction."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from storage.database import Database
from storage.errors import IndexFault


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of `storage/sql/migrations/`."""

    number: int
    name: str
    text: str


def all_migrations() -> tuple[Migration, ...]:
    """Every migration, in the order of its number."""
    folder = files("storage").joinpath("sql", "migrations")
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(Migration(int(name[:4]), name, folder.joinpath(name).read_text(encoding="utf-8")) for name in found)


def migrate(database: Database) -> int:
    """Applies what is missing and returns the schema version reached.

    Raises `IndexFault` when the catalog was written by a newer modelkin.
    """
    database.write("create_schema_version")
    current = int(database.value("schema_version") or 0)
    known = all_migrations()
    if current > known[-1].number:
        raise IndexFault(
            f"this index has schema {current}, this modelkin knows up to {known[-1].number}: upgrade modelkin"
        )
    for migration in known:
        if migration.number > current:
            with database.transaction():
                database.script(migration.text)
                database.write("record_migration", number=migration.number, name=migration.name)
    return known[-1].number


def require_newest(snapshot: Database, index_dir: Path) -> None:
    """Raises `IndexFault`, with what to do, where a snapshot is not of the schema that this version reads."""
    found, newest = int(snapshot.value("schema_version")), all_migrations()[-1].number
    if found < newest:
        raise IndexFault(
            f"{index_dir} was published by an older modelkin: run `modelkin index --index {index_dir}` once"
        )
    if found > newest:
        raise IndexFault(f"{index_dir} was published by a newer modelkin: upgrade modelkin")
