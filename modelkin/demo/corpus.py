"""Text to train on without a network: what Python and the demo's own dependencies ship, in five distinct domains.

A domain's text is a pure function of the installed packages, so that one machine trains the same models every time.
"""

import ast
import pydoc_data.topics
import sysconfig
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from storage.errors import UsageError

LIMIT_BYTES = 200_000


def text_of(domain: str) -> bytes:
    """The first `LIMIT_BYTES` of a domain's text, UTF-8. Raises `UsageError` for a domain that does not exist."""
    if domain not in _SOURCES:
        raise UsageError(f"no domain {domain!r}; there are {', '.join(_SOURCES)}")
    text = bytearray()
    for part in _SOURCES[domain]():
        text += part.encode("utf-8", errors="replace") + b"\n"
        if len(text) >= LIMIT_BYTES:
            break
    return bytes(text[:LIMIT_BYTES])


def domains() -> tuple[str, ...]:
    """The names of all domains."""
    return tuple(_SOURCES)


def _language_reference() -> Iterator[str]:
    yield from (text for _, text in sorted(pydoc_data.topics.topics.items()))


def _source_code() -> Iterator[str]:
    standard_library = Path(sysconfig.get_paths()["stdlib"])
    yield from (path.read_text(encoding="utf-8") for path in sorted(standard_library.glob("asyncio/*.py")))


def _character_names() -> Iterator[str]:
    yield from (unicodedata.name(chr(code), "") for code in range(0x20, 0x3000))


def _docstrings(package: str, pattern: str) -> Iterator[str]:
    """The documentation of every module, class and function of some files of a package, in the order of the files."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob(pattern)):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
            found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
            yield from (text for text in found if text)


_SOURCES: Mapping[str, Callable[[], Iterator[str]]] = {
    "reference": _language_reference,
    "code": _source_code,
    "graphs": lambda: _docstrings("networkx", "algorithms/**/*.py"),
    "statistics": lambda: _docstrings("scipy", "stats/*.py"),
    "layers": lambda: _docstrings("torch", "nn/modules/*.py"),
    "characters": _character_names,
}
