"""Exports are read back by independent readers."""

import csv
import io
import json
import string
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

from crawler.listing_row import is_repo_id
from modelkin.export import to_csv, to_json, to_newick, write_file
from storage.errors import UsageError
from storage.lineage import GraphEdge, ModelNode, edges, nodes, open_graph
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
    odd = replace(graph[1][0], relation='a "quoted",\nword', step_cost=None)
    text = to_csv([odd, *graph[1][1:]])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert rows[0]["relation"] == odd.relation
    assert rows[0]["step_cost"] == ""
    assert [(row["parent"], row["child"]) for row in rows] == [(edge.parent, edge.child) for edge in graph[1]]
    assert text.count("\r\n") == 1 + len(rows)


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


def test_a_file_is_replaced_whole_or_left_alone(tmp_path: Path):
    target = tmp_path / "graph.json"
    target.write_text("old")
    write_file(target, "new\r\n")
    assert target.read_bytes() == b"new\r\n"
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]
    with pytest.raises(UsageError, match="cannot be written"):
        write_file(tmp_path / "missing" / "graph.json", "new")
