"""Table 4: parts of trees, as an index holds them that lacks some models."""

from pathlib import Path

import numpy as np

from scripts.reproduce.data import Tree, Vthr
from scripts.reproduce.document import section, share, table
from scripts.reproduce.methods import LABELS, edges, paper_method, recovered, right_edges
from scripts.reproduce.results import Result
from scripts.vthr.plan import SPLITS

PERCENT = (20, 40, 60, 80, 100)
DRAWS = 2


def measure(data: Vthr) -> Result:
    """Right edges by split and share of nodes; connected parts drawn at random, so that their roots vary too."""
    result: Result = {}
    generator = np.random.default_rng(0)
    for split in SPLITS:
        for percent in PERCENT:
            parts = [
                connected_part(tree, max(3, round(len(tree.models) * percent / 100)), generator)
                for tree in data.of_split(split)
                for _ in range(DRAWS if percent < PERCENT[-1] else 1)
            ]
            result[f"{split} {percent}"] = _scores(parts, ("kin", paper_method(split)))
    return result


def _scores(parts: list[Tree], methods: tuple[str, ...]) -> Result:
    counts = {"edges": 0, "kin": 0, "mother": 0}
    for part in parts:
        evidence = part.evidence()
        counts["edges"] += edges(part.parent)
        for method in LABELS:
            if method in methods:
                name = "kin" if method == "kin" else "mother"
                counts[name] += right_edges(recovered(evidence, method), part.parent)
    return dict(counts)


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
        [split, name, *(share(result[f"{split} {p}"][name], result[f"{split} {p}"]["edges"]) for p in PERCENT)]
        for split in SPLITS
        for name in ("mother", "kin")
    ]
    return [
        section(
            "Table 4: subtrees of 20 to 100 % of the nodes",
            paper="The method is applied to parts of its trees; the values are not stated here.",
            ours=f"Edges right with direction. From each of the five trees {DRAWS} connected parts are drawn, from a"
            " random node along random edges; the topmost of its nodes is a part's root. `mother` takes l_FT on FT and"
            " l_LoRA on the LoRA splits. Its penalty is a share of the mean distance and its evidence of direction one"
            " number a model, so that it has less to go by the fewer the nodes.",
            shown=table(["split", "method", *(f"{percent} %" for percent in PERCENT)], rows),
        )
    ]
