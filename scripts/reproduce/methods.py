"""The methods that are compared, how trees are told apart, and how right an answer is."""

from typing import Literal

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from indexer.clusters import connected_components
from indexer.relatedness import kin_threshold, relatedness
from indexer.settings import IndexSettings
from recovery.settings import PaperDistance
from recovery.tree import recover_kin, recover_mother
from scripts.reproduce.data import Key, Tree, Vthr, fingerprints
from scripts.vthr.plan import Split
from storage.types import BoolArray, ClusterEvidence, FloatArray, IndexArray, Pairs

Method = Literal["kin"] | PaperDistance
"""`kin`, or the paper's method with one of its distances."""

LABELS: dict[Method, str] = {
    "kin": "kin",
    "l_ft": "mother, l_FT",
    "l_lora": "mother, l_LoRA",
    "l_ft_code": "mother, l_FT of the code",
    "l_lora_code": "mother, l_LoRA of the code",
    "rms": "mother, RMS of version 2",
}


def paper_method(split: Split) -> Method:
    """The distance the paper takes for a split."""
    return "l_ft" if split == "FT" else "l_lora"


def recovered(evidence: ClusterEvidence, method: Method) -> IndexArray:
    """The parent (members,) int64 of each member: -1 none, `members` and more a model that is missing.

    The paper's method is told what it needs to be told: that all models but the root were specialised.
    """
    if method == "kin":
        graph = recover_kin(evidence)
    else:
        graph = recover_mother(evidence, distance=method, stages=["specialised"] * evidence.members)
    return graph.parent[: evidence.members]


def recovered_tree(data: Vthr, key: Key, method: Method) -> IndexArray:
    """`recovered` of a whole tree, computed once."""
    if (key, method) not in data.answers:
        data.answers[key, method] = recovered(data.evidence(key), method)
    return data.answers[key, method]


def right_edges(found: IndexArray, true: IndexArray) -> int:
    """Edges found with their direction."""
    return int(((found == true) & (true >= 0)).sum())


def right_links(found: IndexArray, true: IndexArray) -> int:
    """Edges found in either direction."""
    children = np.flatnonzero(true >= 0)
    return int(sum(found[child] == true[child] or found[true[child]] == child for child in children.tolist()))


def edges(true: IndexArray) -> int:
    """How many edges there are to find."""
    return int((true >= 0).sum())


def ward_distances(tree: Tree) -> FloatArray:
    """Mean absolute difference of every pair, condensed, of the matrices of the blocks."""
    flat = np.stack([model.flat() for model in tree.models])
    distances: FloatArray = pdist(flat, "cityblock") / flat.shape[1]
    return distances


def ward_clusters(distances: FloatArray, count: int) -> IndexArray:
    """The paper's clusters: Ward's linkage of condensed distances, cut into the number of trees it is told."""
    return fcluster(linkage(distances, "ward"), count, "maxclust").astype(np.int64)


def kinship(tree: Tree) -> BoolArray:
    """Whether chance cannot explain what two models' sampled weights share, (models, models)."""
    values, plan = fingerprints(tree.models)
    left, right = np.triu_indices(len(values), 1)
    kin = np.abs(relatedness(values, plan, left, right)) >= kin_threshold(IndexSettings().index_models)
    related = np.eye(len(values), dtype=np.bool_)
    related[left[kin], right[kin]] = True
    return related


def kin_clusters(related: BoolArray) -> IndexArray:
    """Our clusters: who is connected by kinship, each named by its lowest member; no number is told."""
    left, right = np.nonzero(np.triu(related, 1))
    return connected_components(len(related), Pairs(left, right, np.zeros(len(left))))


def recovered_by_cluster(tree: Tree, labels: IndexArray, method: Method) -> IndexArray:
    """The parent (models,) int64 of each model where every cluster is recovered by itself; -1 none or missing."""
    parent = np.full(len(tree.models), -1, dtype=np.int64)
    for label in np.unique(labels).tolist():
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            found = recovered(tree.subset(members.tolist()).evidence(), method)
            inside = (found >= 0) & (found < len(members))
            parent[members[inside]] = members[found[inside]]
    return parent


def pairs_together(labels: IndexArray, true: IndexArray) -> tuple[int, int, int]:
    """Pairs of models put together rightly, put together at all, and that belong together."""
    one, other = np.triu_indices(len(labels), 1)
    found, wanted = labels[one] == labels[other], true[one] == true[other]
    return int((found & wanted).sum()), int(found.sum()), int(wanted.sum())
