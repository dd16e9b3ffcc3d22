"""Table 4: parts of trees, as an index holds them that lacks some models."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.reproduce.data import Key, Tree, Vthr
from scripts.reproduce.document import section, share, table
from scripts.reproduce.methods import Method, edges, paper_method, recovered, recovered_tree, right_edges
from scripts.reproduce.results import Result
from scripts.vthr.plan import SPLITS

PARTS = (20, 40, 60, 80)
"""Per cent of a tree's nodes."""


def measure(data: Vthr) -> Result:
    """Right edges by split and share of nodes; connected parts drawn at random, so that their roots vary too."""
    result: Result = {}
    generator = np.random.default_rng(0)
    for split in SPLITS:
        for percent in PARTS:
            counts = {"edges": 0, "mother": 0, "kin": 0}
            for tree in data.of_split(split):
                part = connected_part(tree, max(3, round(len(tree.models) * percent / 100)), generator)
                evidence = part.evidence()
                counts["edges"] += edges(part.parent)
                counts["mother"] += right_edges(recovered(evidence, paper_method(split)), part.parent)
                counts["kin"] += right_edges(recovered(evidence, "kin"), part.parent)
            result[f"{split} {percent}"] = counts
        result[f"{split} 100"] = whole_trees(data, data.keys(split), paper_method(split))
    return result


def whole_trees(data: Vthr, keys: Sequence[Key], method: Method) -> dict[str, int]:
    """Edges of whole trees and how many of them the paper's method and `kin` have right."""
    true = {key: data.trees[key].parent for key in keys}
    return {
        "edges": sum(edges(parent) for parent in true.values()),
        "mother": sum(right_edges(recovered_tree(data, key, method), true[key]) for key in keys),
        "kin": sum(right_edges(recovered_tree(data, key, "kin"), true[key]) for key in keys),
    }


def connected_part(tree: Tree, size: int, generator: np.random.Generator) -> Tree:
    """`size` nodes that hang together, grown from a random one along random edges."""
    size = min(size, len(tree.models))
    chosen = {int(generator.integers(len(tree.models)))}
    while len(chosen) < size:
        children = [node for node in range(len(tree.models)) if int(tree.parent[node]) in chosen]
        parents = [int(tree.parent[node]) for node in chosen if tree.parent[node] >= 0]
        border = sorted({*children, *parents} - chosen)
        chosen.add(int(generator.choice(border)))
    return tree.subset(sorted(chosen))


def sections(result: Result, _: Path) -> list[str]:
    """Table 4."""
    rows = [
        [split, name, *(share(result[f"{split} {p}"][name], result[f"{split} {p}"]["edges"]) for p in (*PARTS, 100))]
        for split in SPLITS
        for name in ("mother", "kin")
    ]
    return [
        section(
            "Table 4: subtrees of 20 to 100 % of the nodes",
            paper="The method is applied to parts of its trees; the values are not stated here.",
            ours="Edges right with direction. From each tree one connected part is drawn, from a"
            " random node along random edges; the topmost of its nodes is a part's root. `mother` takes l_FT on FT and"
            " l_LoRA on the LoRA splits. Its penalty is a share of the mean distance and its evidence of direction one"
            " number a model, so that it has less to go by the fewer the nodes.",
            shown=table(["split", "method", *(f"{percent} %" for percent in (*PARTS, 100))], rows),
        )
    ]
