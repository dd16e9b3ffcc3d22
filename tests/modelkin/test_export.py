"""Exports are read back by independent readers."""

import csv
import io
import json
import os
import re
import string
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import duckdb
import networkx as nx
import pytest

from crawler.settings import is_repo_id
from modelkin.cli.printable import plain
from modelkin.drawing import to_dot, to_graphml, to_mermaid
from modelkin.export import to_csv, to_json, to_newick, write_file, write_parquet
from storage.errors import IndexFault, UsageError
from storage.lineage import GraphEdge, ModelNode, edges, nodes, open_graph
from storage.provenance import GhostNode, ghosts
from tests.support.small_index import build_index

PARENTS = {"a/root": None, "a/left": "a/root", "a/right": "a/root", "a/leaf": "a/left", "b/alone": None}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("index")
    build_index(folder, PARENTS)
    with open_graph(folder) as database:
        return nodes(database), edges(database)


def newick_edges(line: str) -> tuple[str, set[tuple[str, str]]]:
    """(root, edges parent -> child) of one Newick line with quoted labels, read character by character."""
    found: set[tuple[str, str]] = set()
    groups: list[list[str]] = [[]]
    place = 0
    while line[place] != ";":
        if line[place] == "(":
            groups.append([])
        elif line[place] == "'":
            end = place + 1
            while line[end] != "'" or line[end : end + 2] == "''":
                end += 2 if line[end] == "'" else 1
            name = line[place + 1 : end].replace("''", "'")
            if line[place - 1] == ")":
                found |= {(name, child) for child in groups.pop()}
            groups[-1].append(name)
            place = end
        place += 1
    return groups[0][0], found


def test_json_holds_the_graph(graph: tuple[list[ModelNode], list[GraphEdge]]):
    document = json.loads(to_json(*graph))
    read = nx.DiGraph()
    read.add_nodes_from(node["repo_id"] for node in document["nodes"])
    read.add_edges_from((edge["parent"], edge["child"]) for edge in document["edges"])
    assert {child: next(iter(read.pred[child]), None) for child in read} == PARENTS
    assert {edge["evidence"] for edge in document["edges"]} == {"exact"}
    assert {"repo_id", "revision", "tree", "parent"} <= set(document["nodes"][0])
    assert {"parent", "child", "relation", "confidence", "evidence"} <= set(document["edges"][0])


def test_csv_is_read_back_whole(graph: tuple[list[ModelNode], list[GraphEdge]]):
    odd = replace(graph[1][0], relation='a "quoted", word', step_cost=None)
    text = to_csv([odd, *graph[1][1:]])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert rows[0]["relation"] == odd.relation
    assert rows[0]["step_cost"] == ""
    assert [(row["parent"], row["child"]) for row in rows] == [(edge.parent, edge.child) for edge in graph[1]]
    assert text.count("\r\n") == 1 + len(rows)


def test_what_is_not_printable_is_escaped_in_plain_texts_too(graph: tuple[list[ModelNode], list[GraphEdge]]):
    hostile = "a/\x1b]0;owned\x07\u202e\n\r\x9b31m"
    rows = list(csv.DictReader(io.StringIO(to_csv([replace(graph[1][0], child=hostile)]), newline="")))
    assert rows[0]["child"] == plain(hostile)
    assert to_newick([replace(graph[0][0], repo_id=hostile, parent=None)]) == f"'{plain(hostile)}';\n"


def test_details_that_are_no_object_are_a_fault_of_the_index(graph: tuple[list[ModelNode], list[GraphEdge]]):
    with pytest.raises(IndexFault, match="no JSON object"):
        to_json(graph[0], [replace(graph[1][0], details="[1]")])


def test_no_name_that_holds_a_spreadsheet_formula_gets_into_an_index():
    admitted = {char for char in map(chr, range(0x3000)) if is_repo_id(f"org/a{char}b")}
    assert admitted == set(string.ascii_letters + string.digits + "._-")


def test_newick_has_a_line_for_each_tree(graph: tuple[list[ModelNode], list[GraphEdge]]):
    read = dict(newick_edges(line) for line in to_newick(graph[0]).splitlines())
    assert set(read) == {"a/root", "b/alone"}
    assert read["a/root"] == {(parent, child) for child, parent in PARENTS.items() if parent}
    assert read["b/alone"] == set()


def test_newick_quotes_names_and_survives_deep_trees(graph: tuple[list[ModelNode], list[GraphEdge]]):
    names = [f"it's/m{number}" for number in range(5000)]
    chain = [
        replace(graph[0][0], repo_id=name, parent=above) for name, above in zip(names, [None, *names], strict=False)
    ]
    root, found = newick_edges(to_newick(chain))
    assert root == names[0]
    assert found == set(pairwise(names))


Whole = tuple[list[ModelNode], list[GraphEdge], list[GhostNode]]
HOSTILE = 'it\'s "]) --> n0["evil\\\n<b>&#quot;|\x1b]0;\u202e'


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A missing root, a merge, and a name that no crawl would admit."""
    folder = tmp_path_factory.mktemp("merged")
    parents = {"?g": None, "a/x": "?g", "a/y": "?g", HOSTILE: "a/x"}
    build_index(
        folder,
        parents,
        details={"a/y": {"licence": HOSTILE}},
        lesser={HOSTILE: {"a/y": 0.25}},
        changed={"a/x": {"support": 0.5, "details": {"rank": [4, 8]}}},
    )
    with open_graph(folder) as database:
        return nodes(database), edges(database), ghosts(database)


def true_edges(graph: Whole, shown: Callable[[str], str] = str) -> set[tuple[str, str]]:
    return {(shown(edge.parent), shown(edge.child)) for edge in graph[1]}


def test_json_tells_ghosts_from_models_and_the_numbers_of_edges(merged: Whole):
    document = json.loads(to_json(*merged))
    missing = [node for node in document["nodes"] if node["ghost"]]
    assert [(node["repo_id"], node["revision"], node["depth"]) for node in missing] == [(merged[2][0].ghost, None, 0)]
    assert {frozenset(node) for node in document["nodes"]} == {frozenset(document["nodes"][0])}
    by_ends = {(edge["parent"], edge["child"]): edge for edge in document["edges"]}
    assert set(by_ends) == true_edges(merged)
    assert by_ends["a/y", HOSTILE]["weight"] == 0.25
    assert by_ends["a/y", HOSTILE]["is_heaviest"] is False
    above = by_ends[merged[2][0].ghost, "a/x"]
    assert (above["support"], above["details"]) == (0.5, {"rank": [4, 8]})


def test_newick_draws_a_missing_root_and_a_merge_once(merged: Whole):
    root, found = newick_edges(to_newick(merged[0], merged[2]))
    assert root == merged[2][0].ghost
    assert found == {(plain(edge.parent), plain(edge.child)) for edge in merged[1] if edge.is_heaviest}


def test_graphml_is_read_back_by_networkx_with_its_attributes(merged: Whole):
    read = nx.parse_graphml(to_graphml(*merged))
    assert set(read.edges) == true_edges(merged, plain)
    assert read.edges["a/y", plain(HOSTILE)]["weight"] == 0.25
    assert read.nodes[merged[2][0].ghost]["ghost"] is True
    assert read.nodes["a/y"]["licence"] == plain(HOSTILE)
    assert "support" not in read.edges["a/y", plain(HOSTILE)]


def test_dot_quotes_every_name(merged: Whole):
    text = to_dot(*merged)
    assert text.replace("\n", "").isprintable()
    quoted = r'"((?:[^"\\]|\\.)*)"'
    statements = text.splitlines()[1:-1]
    read = [
        re.fullmatch(rf"    {quoted}(?: -> {quoted})?(?: \[(?:label={quoted})?(?:, )?(style=dashed)?\])?;", line)
        for line in statements
    ]
    assert all(read), statements
    shown = {(part[1], part[2]) for part in read if part and part[2]}
    assert shown == true_edges(merged, lambda name: plain(name).replace("\\", "\\\\").replace('"', '\\"'))
    assert sum(line.endswith("style=dashed];") for line in statements) == 2


def test_mermaid_shows_every_name_and_nothing_of_it_is_syntax(merged: Whole):
    first, *lines = to_mermaid(*merged).splitlines()
    assert first == "flowchart TD"
    text = r'"([A-Za-z0-9 ._/:,%()#;-]*)"'
    names = {}
    found = set()
    for line in lines:
        node = re.fullmatch(rf"    (n\d+)(?:\[{text}\]|\(\[{text}\]\))", line)
        if node:
            names[node[1]] = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), node[2] or node[3])
            continue
        edge = re.fullmatch(rf"    (n\d+) (?:-->|-\.->)\|{text}\| (n\d+)", line)
        assert edge, line
        found.add((names[edge[1]], names[edge[3]]))
    assert found == true_edges(merged, plain)


def test_parquet_needs_a_place_that_can_be_written(tmp_path: Path):
    build_index(tmp_path / "index", PARENTS)
    with pytest.raises(UsageError, match="--output"):
        write_parquet(tmp_path / "index", None)
    with pytest.raises(UsageError, match="cannot be written"):
        write_parquet(tmp_path / "index", tmp_path / "missing" / "edges.parquet")
    write_parquet(tmp_path / "index", tmp_path / "it's.parquet")
    with duckdb.connect() as reader:
        read = reader.execute(f"FROM '{tmp_path}/it''s.parquet'").fetchall()
    with open_graph(tmp_path / "index") as database:
        assert read == database.connection.execute("FROM edges ORDER BY tree, parent, child").fetchall()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "it's.parquet"]


def test_a_file_is_replaced_whole_or_left_alone(tmp_path: Path):
    target = tmp_path / "graph.json"
    target.write_text("old")
    write_file(target, "new\r\n")
    assert target.read_bytes() == b"new\r\n"
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]
    with pytest.raises(UsageError, match="cannot be written"):
        write_file(tmp_path / "missing" / "graph.json", "new")


def test_a_link_is_written_through_and_stays(tmp_path: Path):
    target, link = tmp_path / "graph.json", tmp_path / "link"
    target.write_text("something longer than what comes")
    link.symlink_to(target)
    write_file(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    with pytest.raises(UsageError, match="needs a file"):
        write_parquet(tmp_path / "index", link)


def test_a_pipe_is_written_into_and_stays(tmp_path: Path):
    """As is /dev/stdout, and /dev/null: to rename a file over them takes them from the whole machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
    with pytest.raises(UsageError, match="needs a file"):
        write_parquet(tmp_path / "index", pipe)


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_a_folder_is_no_file_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="Is a directory"):
        write_file(Path(name), "text")
    with pytest.raises(UsageError, match="needs a file"):
        write_parquet(tmp_path / "index", Path(name))
