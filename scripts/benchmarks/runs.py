"""A Hub in a folder, recovered by `modelkin refresh` and by the paper's method, each judged by the truth."""

import itertools
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crawler.sources import FolderSource
from modelkin.config import Config
from modelkin.pipeline.runs import refresh
from modelkin.progress import Silent
from modelkin.truth import found_graph, read_truth
from recovery.evaluation import Scores, scored
from recovery.evidence import gather
from recovery.judgement import FoundEdge, FoundGraph, JudgedEdge, judged_edges
from recovery.known_graph import KnownGraph, TrueModel, Truth, known_graph
from recovery.settings import EvidenceSettings, PaperDistance
from recovery.tree import recover_mother
from storage.errors import ModelUnreadable, UsageError
from storage.types import ClusterEvidence, Pairs

PAPER_DISTANCES: tuple[PaperDistance, ...] = ("l_ft", "l_lora")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one method found on one or more sets, judged."""

    known: KnownGraph
    found: FoundGraph
    edges: Sequence[JudgedEdge]
    scores: Scores


def answer(truth: Truth, found: FoundGraph) -> Answer:
    """A graph with what is right about it."""
    known = known_graph(truth)
    edges = judged_edges(known, found)
    return Answer(known, found, edges, scored(known, found, edges))


def by_kin(hub: Path) -> FoundGraph:
    """The whole pipeline with default settings, told nothing."""
    with tempfile.TemporaryDirectory() as folder:
        refresh(str(hub), Path(folder) / "index", config=Config(), progress=Silent())
        return found_graph(Path(folder) / "index")


def by_paper(hub: Path, truth: Truth) -> dict[PaperDistance, FoundGraph]:
    """The paper's method with each of its distances, told what it must be told.

    Which models are kin is taken from the truth, further divided by architecture, since models of different shapes have
    no distance; the stage is fine-tuning, as it is of nearly all. Unmerged adapters, of which it knows nothing, are
    left out.
    """
    cluster = known_graph(truth).cluster
    groups: dict[tuple[str, str], dict[str, FolderSource]] = {}
    for name in sorted(truth):
        source = _source(hub / name) if truth[name].present else None
        if source is not None:
            groups.setdefault((cluster[name], source.architecture.key), {})[name] = source
    graphs: dict[PaperDistance, FoundGraph] = {distance: FoundGraph({}, []) for distance in PAPER_DISTANCES}
    for number, members in enumerate(groups.values()):
        trees = dict.fromkeys(members, str(number))
        evidence = _evidence(list(members.values()))
        for distance, graph in graphs.items():
            edges = _mother(list(members), evidence, distance) if len(members) > 1 else []
            graphs[distance] = FoundGraph({**graph.trees, **trees}, [*graph.edges, *edges])
    return graphs


def _source(folder: Path) -> FolderSource | None:
    """A model's weights; None of an adapter, and of what cannot be read."""
    if (folder / "adapter_config.json").exists():
        return None
    try:
        return FolderSource(folder)
    except ModelUnreadable:
        return None


def _evidence(sources: Sequence[FolderSource]) -> ClusterEvidence:
    ends = np.array(list(itertools.combinations(range(len(sources)), 2)), dtype=np.int64).reshape(-1, 2)
    return gather(sources, Pairs(ends[:, 0], ends[:, 1], np.zeros(len(ends))), EvidenceSettings())


def _mother(names: Sequence[str], evidence: ClusterEvidence, distance: PaperDistance) -> list[FoundEdge]:
    graph = recover_mother(evidence, distance=distance, stages=["specialised"] * evidence.members)
    rows = zip(names, graph.parent.tolist(), graph.relation, graph.pair.tolist(), strict=True)
    return [
        FoundEdge(names[parent], name, relation, rank=round(float(evidence.pairs.l_lora[pair])))
        for name, parent, relation, pair in rows
        if parent >= 0
    ]


def read_sets(folders: Iterable[Path]) -> dict[str, Path]:
    """Hubs with a truth by name: the folders themselves, or those right inside. Raises `UsageError` where none is."""
    sets: dict[str, Path] = {}
    for folder in folders:
        inside = [folder] if (folder / "truth.json").exists() else sorted(p.parent for p in folder.glob("*/truth.json"))
        if not inside:
            raise UsageError(f"{folder} holds no truth.json, nor does a folder in it")
        sets |= {str(hub): hub for hub in inside}
    return sets


def truth_of(hub: Path) -> Truth:
    """The truth beside a Hub's models."""
    return read_truth(hub / "truth.json")


def pooled(truths: Sequence[Truth], graphs: Sequence[FoundGraph]) -> Answer:
    """One answer on several sets; where there are more than one, names begin with the number of their set."""
    if len(truths) == 1:
        return answer(truths[0], graphs[0])
    truth = {f"{n}:{name}": _apart(n, model) for n, one in enumerate(truths) for name, model in one.items()}
    trees = {f"{n}:{name}": f"{n}:{tree}" for n, graph in enumerate(graphs) for name, tree in graph.trees.items()}
    edges = [
        replace(edge, parent=f"{n}:{edge.parent}", child=f"{n}:{edge.child}")
        for n, graph in enumerate(graphs)
        for edge in graph.edges
    ]
    return answer(truth, FoundGraph(trees, edges))


def _apart(number: int, model: TrueModel) -> TrueModel:
    return replace(model, parents={f"{number}:{name}": weight for name, weight in model.parents.items()})
