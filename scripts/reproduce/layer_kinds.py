"""Fig. 19: which kinds of layer tell the tree."""

from collections.abc import Sequence
from pathlib import Path

from scripts.reproduce.data import Tree, Vthr
from scripts.reproduce.document import section, table
from scripts.reproduce.methods import Method, edges, paper_method, recovered, right_edges, right_links
from scripts.reproduce.results import Result
from scripts.vthr.plan import SPLITS, Split

KINDS = {
    "query": "attention.query.",
    "key": "attention.key.",
    "value": "attention.value.",
    "attention output": "attention.output.",
    "MLP in": "intermediate.",
    "MLP out": "output.dense",
}
"""Part of a layer's name by kind."""

TREES = 2


def is_kind(name: str, kind: str) -> bool:
    """Whether a layer is of a kind; the MLP's second matrix shares its name with the attention's output."""
    return KINDS[kind] in name and not (kind == "MLP out" and "attention" in name)


def measure(data: Vthr) -> Result:
    """Right edges and links by split, kind and method, from layers of that kind alone."""
    result: Result = {}
    for split in SPLITS:
        for kind in KINDS:
            result[f"{split} {kind}"] = _counts(data.of_split(split)[:TREES], split, kind)
    return result


def _counts(trees: Sequence[Tree], split: Split, kind: str) -> dict[str, int]:
    methods: dict[str, Method] = {"mother": paper_method(split), "kin": "kin"}
    counts = dict.fromkeys(["edges", "mother", "mother_links", "kin", "kin_links"], 0)
    for tree in trees:
        evidence = tree.changed(lambda model: model.only(lambda layer: is_kind(layer, kind))).evidence()
        counts["edges"] += edges(tree.parent)
        for name, method in methods.items():
            found = recovered(evidence, method)
            counts[name] += right_edges(found, tree.parent)
            counts[f"{name}_links"] += right_links(found, tree.parent)
    return counts


def sections(result: Result, _: Path) -> list[str]:
    """Fig. 19."""
    rows = []
    for kind in KINDS:
        row = [kind]
        for split in SPLITS:
            counts = result[f"{split} {kind}"]
            for name in ("mother", "kin"):
                right, links = (counts[kind_of] / counts["edges"] for kind_of in (name, f"{name}_links"))
                row.append(f"{right:.2f} ({links:.2f})")
        rows.append(row)
    return [
        section(
            "Fig. 19: kinds of layer",
            paper="The kinds of layer are compared as the source of distances and scores; values are not stated here.",
            ours=f"Edges right from the matrices of one kind alone, in {TREES} trees a split: with direction, in"
            " brackets in either direction. The LoRA splits adapt queries and values, so that all other kinds are bit"
            " for bit the same throughout a tree and cannot tell anything there: what they get is chance.",
            shown=table(["layers", *(f"{split}, {name}" for split in SPLITS for name in ("mother", "kin"))], rows),
        )
    ]
