"""Grafts: on whose blocks models of other depth, and parts of models, are made."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexer.relatedness import kin_threshold
from modelkin.config import Config
from modelkin.pipeline.block_reader import BlockReader
from modelkin.pipeline.graft_families import MOST_MEMBERS, Families, Family
from modelkin.pipeline.hub_address import HubAddress
from modelkin.pipeline.recover_step import opened
from modelkin.progress import Progress
from recovery.grafts import Graft, graft, graft_details, is_nearer, likeliest_parents
from recovery.regrafted import entry_above, steps_down, turned, way_up
from recovery.stacks import stack_of
from storage.catalog import Catalog
from storage.graft_records import (
    BlockModel,
    GraftEdge,
    block_hosts,
    commit_block_grafts,
    forget_absent_readings,
    own_edges,
)
from storage.types import Relation

PROVED: frozenset[Relation] = frozenset({"duplicate", "cast", "quantized", "pruned", "merge"})
"""Relations that stand, whoever else is near."""


@dataclass(frozen=True, slots=True)
class Found:
    """On whom a model hangs, and how sure that is."""

    child: BlockModel
    parents: Sequence[BlockModel]  # that were looked at, of whom `graft` names those that gave blocks
    graft: Graft
    confidence: float
    distance: float  # squared, of the blocks that match, in squares of their weights
    family: Family

    @property
    def heaviest(self) -> BlockModel:
        """Who gave most."""
        return self.parents[self.graft.shares[0].parent]

    @property
    def order(self) -> tuple[int, float, int, str]:
        """Those with most equal blocks come first, then the nearest; of equals the smallest: it left least out."""
        return -self.graft.verbatim, self.distance, self.heaviest.parameters, self.child.hub_id


@dataclass(frozen=True, slots=True)
class Grafted:
    """A cluster that hangs on models of another one."""

    cluster_id: str
    own: Mapping[str, tuple[str, Relation]]  # of every node but the root: who is above it inside, and how it was made
    entries: Sequence[Found]  # nodes that hang outside
    turned: Mapping[str, tuple[BlockModel, BlockModel]]  # edges inside that lead the other way now: child and parent

    @property
    def above(self) -> dict[str, str]:
        """The edges inside, before any was turned."""
        return {node: parent for node, (parent, _) in self.own.items()}


@dataclass(frozen=True)
class GraftStep:
    """Hangs every model that has blocks of one of another architecture on it, in place of all such edges before."""

    catalog: Catalog
    config: Config
    progress: Progress

    def run(self, address: HubAddress) -> None:
        """Reads what was not read yet, and decides for every cluster anew: models come and go.

        Where a cluster's root hangs on a model of another cluster, others of it may hang there as well: models that
        were cut or stacked alike, each by itself, are kin of each other only through what they were made of.
        """
        forget_absent_readings(self.catalog)
        families = Families(self.catalog, threshold=kin_threshold(self.config.index.index_models))
        found: list[Grafted] = []
        if families.asked:
            self.progress.start("compare blocks", len(families.asked))
            with opened(address, self.config) as opener:
                reader = BlockReader(self.catalog, families.stacks, opener, self.progress)
                roots = [one for root in families.asked if (one := self._found(root, families, reader))]
                found = [self._grafted(root, reader) for root in _acyclic(_from_one(roots, reader))]
        edges = [edge for one in found for edge in _edges_of(one, families)]
        commit_block_grafts(self.catalog, edges, _steps_down(found))

    def _found(self, root: BlockModel, families: Families, reader: BlockReader) -> Found | None:
        """On whom a root hangs: the surest of all families."""
        found = [one for family in families.around(root, reader) if (one := _judged(root, family, reader))]
        self.progress.advance()
        return min(found, key=lambda one: one.order, default=None)

    def _grafted(self, root: Found, reader: BlockReader) -> Grafted:
        """A cluster whose root was found to hang outside, with all others of it that do.

        Where one of these is as near to the root as what the root was found to hang on, the root comes from it.
        """
        cluster_id = root.child.cluster_id
        members = {model.hub_id: model for model in block_hosts(self.catalog, cluster_id)}
        own = own_edges(self.catalog, cluster_id)
        further = list(_further(root.family, members, own, reader))
        above = {node: parent for node, (parent, _) in own.items()}
        fixed = [node for node, (up, relation) in own.items() if relation in PROVED or not {node, up} <= {*members}]
        possible = entry_above(root.child.hub_id, above, [one.child.hub_id for one in further], fixed)
        entry = next((node for node in possible if not _is_nearer(root, members[node], reader)), None)
        if entry is None:
            return Grafted(cluster_id, own, [root, *further], {})
        turns = {child: (members[child], members[up]) for child, up in turned(above, entry).items()}
        return Grafted(cluster_id, own, further, turns)


def _further(
    family: Family, members: Mapping[str, BlockModel], own: Mapping[str, tuple[str, Relation]], reader: BlockReader
) -> Iterator[Found]:
    """Members of a cluster that are nearer to a model of the family than to their parent in their own cluster."""
    for model in list(members.values())[: MOST_MEMBERS + 1]:
        above, relation = own.get(model.hub_id, ("", "merge"))
        if above not in members or relation in PROVED:
            continue
        one = _judged(model, family, reader)
        if one is not None and not one.graft.is_doubtful and _is_nearer(one, members[above], reader):
            yield one


def _judged(model: BlockModel, family: Family, reader: BlockReader) -> Found | None:
    """What a model is to the likeliest parents of a family; None where it is no child, or cannot be read now."""
    matches = family.matches(model)
    if matches is None:
        return None
    likeliest = likeliest_parents(matches)
    if likeliest is None:
        return None
    parents = [family.models[place] for place in likeliest.parents]
    child, *given = [reader.read(one, family.make, family.sampled) for one in (model, *parents)]
    if child is None or given[0] is None:
        return None
    known = [(parent, rows) for parent, rows in zip(parents, given, strict=True) if rows is not None]
    is_part, first = _is_part(model, parents[0], reader), _came_first(parents[0], model)
    found = graft(child, [rows for _, rows in known], is_part=is_part, parent_first=first)
    if found is None or not (found.verbatim or family.inherits(model, likeliest.parents[0])):
        return None
    confidence = likeliest.confidence / (2 if found.is_doubtful else 1)
    return Found(model, [parent for parent, _ in known], found, confidence, likeliest.distance, family)


def _came_first(parent: BlockModel, child: BlockModel) -> bool | None:
    """Whether a repository was made before another; None where nobody knows."""
    if parent.created_at is None or child.created_at is None or parent.created_at == child.created_at:
        return None
    return parent.created_at < child.created_at


def _is_part(child: BlockModel, parent: BlockModel, reader: BlockReader) -> bool:
    """Whether the parent has blocks of another make that the child lacks, and was there before it."""
    more = set(reader.stacks[parent.layout_id]) - set(reader.stacks[child.layout_id])
    return bool(more) and child.parameters < parent.parameters and _came_first(parent, child) is not False


def _is_nearer(one: Found, above: BlockModel, reader: BlockReader) -> bool:
    """Whether a model is nearer to whom it was found to hang on than to its parent in its own cluster."""
    make, sampled, share = one.family.make, one.family.sampled, one.graft.shares[0]
    child, parent, other = (reader.read(model, make, sampled) for model in (one.child, one.heaviest, above))
    if child is None or parent is None or other is None:
        return False
    own, theirs = (reader.stacks[model.layout_id][make] for model in (one.child, above))
    places = np.array([theirs.index(block) if block in theirs else -1 for block in own], dtype=np.int64)
    return is_nearer(child, parent, other, share.fit, places=places)


def _from_one(found: Sequence[Found], reader: BlockReader) -> list[Found]:
    """Those that share no stack of a parent with a stranger: what has other blocks of each was put together of both."""
    taken = [_taken(one, reader) for one in found]
    return [
        one
        for one, (stack, blocks) in zip(found, taken, strict=True)
        if not any(other == stack and blocks.isdisjoint(others) for other, others in taken)
    ]


def _taken(one: Found, reader: BlockReader) -> tuple[tuple[str, str], set[str]]:
    """Which stack of whom, and which blocks there."""
    blocks = reader.stacks[one.heaviest.layout_id][one.family.make]
    sources = {blocks[place] for place in one.graft.shares[0].fit.source.tolist() if place >= 0}
    return (one.heaviest.hub_id, stack_of(sorted(sources))), sources


def _acyclic(found: Sequence[Found]) -> list[Found]:
    """Those that close no circle among clusters, of which the surest are kept; trunks before what hangs on them."""
    above: dict[str, str] = {}
    kept: dict[str, Found] = {}
    for one in sorted(found, key=lambda one: one.order):
        trunk, cluster = one.heaviest.cluster_id, one.child.cluster_id
        if cluster not in way_up(trunk, above):
            above[cluster], kept[cluster] = trunk, one
    return [kept[cluster] for cluster in sorted(kept, key=lambda cluster: (len(way_up(cluster, above)), cluster))]


def _steps_down(found: Sequence[Grafted]) -> dict[str, int]:
    """Of nodes of grafted clusters, how much deeper they are than their clusters say; trunks come first."""
    steps: dict[str, int] = {}
    for one in found:
        entries = {e.child.hub_id: e.heaviest.depth + steps.get(e.heaviest.hub_id, 0) for e in one.entries}
        turns = {child: parent.hub_id for child, (_, parent) in one.turned.items()}
        steps |= steps_down(one.above, entries, turns)
    return steps


def _edges_of(one: Grafted, families: Families) -> Iterator[GraftEdge]:
    for entry in one.entries:
        yield from _edges(entry, families)
    for child, parent in one.turned.values():
        relation, sure = one.own[parent.hub_id][1], max(entry.confidence for entry in one.entries)
        yield GraftEdge(parent, child, relation, sure, 1.0, "{}", is_heaviest=True)


def _edges(one: Found, families: Families) -> Iterable[GraftEdge]:
    for rank, share in enumerate(one.graft.shares):
        parent = one.parents[share.parent]
        details = graft_details(share.fit, families.stacks[parent.layout_id][one.family.make])
        yield GraftEdge(
            parent=parent,
            child=one.child,
            relation=one.graft.relation,
            confidence=round(one.confidence, 6),
            weight=round(share.weight, 6),
            details=json.dumps(details),
            is_heaviest=rank == 0,
        )
