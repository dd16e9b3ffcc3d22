"""Trees of three models: a chain, a parent of two, a pair with a stranger, three siblings without their parent."""

from pathlib import Path

import numpy as np

from scripts.reproduce.data import Tree, Vthr
from scripts.reproduce.document import section, share, table
from scripts.reproduce.methods import (
    Method,
    kin_clusters,
    kinship,
    paper_method,
    recovered_by_cluster,
    ward_clusters,
    ward_distances,
)
from scripts.reproduce.results import Result
from scripts.vthr.plan import SPLITS
from storage.types import BoolArray, IndexArray

MEANING = {
    "GPC": "grandparent, parent, child: a chain of two edges",
    "PC2": "a parent and two of its children",
    "PCS": "a parent, its child, and a stranger from another tree, which must have no edge",
    "S3": "three siblings without their parent, between which there must be no edge",
}
DRAWS = 2
SIBLINGS = 3


def measure(data: Vthr) -> Result:
    """How many triplets of each kind are right in every edge, by split."""
    result: Result = {}
    generator = np.random.default_rng(0)
    for split in SPLITS:
        forest, trees = data.forest(split)
        related = kinship(forest)
        for kind, triplets in _drawn(forest, trees, generator).items():
            result[f"{split} {kind}"] = {
                "triplets": len(triplets),
                "mother": sum(_right_by_mother(forest.subset(one), kind, paper_method(split)) for one in triplets),
                "kin": sum(_right_by_kin(forest.subset(one), related[np.ix_(one, one)]) for one in triplets),
            }
    return result


def _right_by_mother(part: Tree, kind: str, method: Method) -> bool:
    """The paper's method is told the number of trees."""
    clusters = ward_clusters(ward_distances(part), 2 if kind == "PCS" else 1)
    return _right(part, recovered_by_cluster(part, clusters, method))


def _right_by_kin(part: Tree, related: BoolArray) -> bool:
    return _right(part, recovered_by_cluster(part, kin_clusters(related), "kin"))


def _right(part: Tree, found: np.ndarray) -> bool:
    return bool((found == part.parent).all())


def _drawn(forest: Tree, trees: IndexArray, generator: np.random.Generator) -> dict[str, list[list[int]]]:
    """Triplets of each kind, members in random order."""
    parents = forest.parent
    children = {int(p): np.flatnonzero(parents == p) for p in np.unique(parents[parents >= 0])}
    drawn: dict[str, list[list[int]]] = {kind: [] for kind in MEANING}
    for root in np.flatnonzero(parents < 0).tolist():
        for _ in range(DRAWS):
            parent = int(generator.choice(children[root]))
            child = int(generator.choice(children[parent]))
            stranger = int(generator.choice(np.flatnonzero(trees != trees[root])))
            family = generator.permutation(children[root]).tolist()
            drawn["GPC"].append(generator.permutation([root, parent, child]).tolist())
            drawn["PC2"].append(generator.permutation([root, *family[:2]]).tolist())
            drawn["PCS"].append(generator.permutation([root, parent, stranger]).tolist())
            if len(family) >= SIBLINGS:
                drawn["S3"].append(family[:SIBLINGS])
    return drawn


def sections(result: Result, _: Path) -> list[str]:
    """The triplets."""
    rows = []
    for kind, meaning in MEANING.items():
        counts = [result[f"{split} {kind}"] for split in SPLITS]
        rows.append(
            [f"{kind}: {meaning}", *(share(one[n], one["triplets"]) for one in counts for n in ("mother", "kin"))]
        )
    return [
        section(
            "Triplets",
            paper="Small structures of three models are examined one by one; values are not stated here, and the names"
            " below mean what the table says.",
            ours="A triplet is right where every one of its edges is, and no other was found. `mother` is told the"
            " number of trees and the stage; it always spans a cluster, so that three siblings cannot but be linked"
            " wrongly. `kin` first tests who is kin.",
            shown=table(["triplet", *(f"{split}, {name}" for split in SPLITS for name in ("mother", "kin"))], rows),
        )
    ]
