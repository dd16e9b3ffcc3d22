"""Families of other architectures that have blocks of a model, or whose blocks it has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from modelkin.block_kin import are_related, inherited_blocks
from modelkin.pipeline.block_reader import BlockReader
from recovery.block_rows import Matches, SampledBlocks, aligned_rows, matched, sampled_blocks, stacked
from recovery.stacks import Make, Stacks, stacks_of
from storage.adapter_records import layouts
from storage.catalog import Catalog
from storage.graft_records import BlockModel, block_hosts, block_roots, fingerprints_of
from storage.graph_records import plan_by_id
from storage.types import SamplePlan, WeightArray

MOST_FAMILIES = 16
"""Families whose first model is read, where another's fingerprint holds the blocks: each costs requests to the Hub."""
MOST_MEMBERS = 64
"""Of a cluster, those nearest to its root, that are read in all of their blocks."""
BATCH_MODELS = 256
"""Fingerprints that are compared with a model at once."""


class Family(Protocol):
    """A cluster of another architecture with blocks of one make, and the plan by which these are compared."""

    @property
    def models(self) -> Sequence[BlockModel]:
        """Those that may be parents, the nearest to the root first."""

    @property
    def make(self) -> Make:
        """Of the blocks."""

    @property
    def sampled(self) -> SampledBlocks:
        """Where these are sampled."""

    def matches(self, model: BlockModel) -> Matches | None:
        """How a model's blocks match each of the family; None where it has none, or cannot be read now."""

    def inherits(self, model: BlockModel, parent: int) -> bool:
        """Whether a model's blocks hold what one of the family had learned; it has matches."""


@dataclass(frozen=True, slots=True)
class SampledFamily:
    """A family whose fingerprints hold such blocks: of a model all of its own are read at the same places."""

    models: Sequence[BlockModel]
    make: Make
    sampled: SampledBlocks
    hosts: WeightArray  # (models, plan.weights)
    reader: BlockReader
    threshold: float

    def matches(self, model: BlockModel) -> Matches | None:
        """See `Family`."""
        guest = self.reader.read(model, self.make, self.sampled)
        return None if guest is None else matched(self.sampled, guest, self.hosts)

    def inherits(self, model: BlockModel, parent: int) -> bool:
        """See `Family`."""
        guest = self.reader.read(model, self.make, self.sampled)
        rows = None if guest is None else _aligned(self.sampled, guest, self.hosts[[parent]])
        return rows is not None and inherited_blocks(rows[0], child=rows[1], parent=rows[2], threshold=self.threshold)


@dataclass(frozen=True, slots=True)
class ReadFamily:
    """A family whose fingerprints hold other blocks than these, which are read of them where models' hold them."""

    models: Sequence[BlockModel]
    make: Make
    sampled: SampledBlocks
    guests: Sequence[WeightArray]  # of each of the models
    catalog: Catalog
    threshold: float

    def matches(self, model: BlockModel) -> Matches | None:
        """See `Family`."""
        own = fingerprints_of(self.catalog, [model])
        return stacked([matched(self.sampled, guest, own) for guest in self.guests])

    def inherits(self, model: BlockModel, parent: int) -> bool:
        """See `Family`."""
        rows = _aligned(self.sampled, self.guests[parent], fingerprints_of(self.catalog, [model]))
        return rows is not None and inherited_blocks(rows[0], child=rows[2], parent=rows[1], threshold=self.threshold)


def _aligned(
    sampled: SampledBlocks, guest: WeightArray, host: WeightArray
) -> tuple[SamplePlan, WeightArray, WeightArray] | None:
    """A plan of the blocks of one host that match any of a guest's, and both's rows; None where none does."""
    matches = matched(sampled, guest, host)
    if not matches.near.any():
        return None
    plan, mine, theirs = aligned_rows(sampled, guest, host, matches, among=matches.near)
    return plan, mine[0], theirs[0]


class Families:
    """All models of an index by the makes of their blocks."""

    def __init__(self, catalog: Catalog, *, threshold: float) -> None:
        """Kin are told by `threshold` (`indexer.relatedness.kin_threshold`)."""
        self.catalog = catalog
        self.threshold = threshold
        self.roots = block_roots(catalog)

    @cached_property
    def stacks(self) -> dict[str, Stacks]:
        """The blocks of every layout."""
        found = layouts(self.catalog, of_adapters=False)
        return {key: stacks_of(layout.names, layout.rows, layout.cols) for key, layout in found.items()}

    @cached_property
    def asked(self) -> list[BlockModel]:
        """The roots with blocks of a make that roots of other architectures have, too."""
        return [root for root in self.roots if self._makes(root)]

    def around(self, root: BlockModel, reader: BlockReader) -> Iterator[Family]:
        """The families of other architectures that may be kin of a root, by the first of each.

        Of two depths it is the models of the rarer one that are read: where that is the root's, the root, else others.
        """
        for make in self._makes(root):
            by_plan: dict[str, list[BlockModel]] = {}
            for other in self._with_make[make]:
                by_plan.setdefault(other.plan_id, []).append(other)
            own = (len(by_plan.pop(root.plan_id)), root.plan_id)
            hosts = [p for p, models in by_plan.items() if (p, make) in self._sampled and own < (len(models), p)]
            for plan_id in sorted(hosts):
                yield from self._sampled_ones(root, make, self._sampled[plan_id, make], by_plan[plan_id], reader)
            if (root.plan_id, make) in self._sampled:
                read = [other for plan_id in sorted(by_plan.keys() - {*hosts}) for other in by_plan[plan_id]]
                yield from self._read_ones(root, make, read, reader)

    def _sampled_ones(
        self, root: BlockModel, make: Make, sampled: SampledBlocks, hosts: Sequence[BlockModel], reader: BlockReader
    ) -> Iterator[Family]:
        guest = reader.read(root, make, sampled)
        if guest is None:
            return
        for start in range(0, len(hosts), BATCH_MODELS):
            batch = hosts[start : start + BATCH_MODELS]
            related = are_related(sampled, guest, fingerprints_of(self.catalog, batch), threshold=self.threshold)
            for place in np.flatnonzero(related).tolist():
                members = block_hosts(self.catalog, batch[place].cluster_id)
                yield SampledFamily(
                    members, make, sampled, fingerprints_of(self.catalog, members), reader, self.threshold
                )

    def _read_ones(
        self, root: BlockModel, make: Make, others: Sequence[BlockModel], reader: BlockReader
    ) -> Iterator[Family]:
        sampled = self._sampled[root.plan_id, make]
        own = fingerprints_of(self.catalog, [root])
        for first in others[:MOST_FAMILIES]:
            guest = reader.read(first, make, sampled)
            if guest is None or not are_related(sampled, guest, own, threshold=self.threshold)[0]:
                continue
            members = block_hosts(self.catalog, first.cluster_id)[:MOST_MEMBERS]
            read = [(model, reader.read(model, make, sampled)) for model in members]
            known = [(model, rows) for model, rows in read if rows is not None]
            models, guests = [model for model, _ in known], [rows for _, rows in known]
            yield ReadFamily(models, make, sampled, guests, self.catalog, self.threshold)

    def _makes(self, root: BlockModel) -> list[Make]:
        return [make for make in self.stacks[root.layout_id] if make in self._with_make]

    @cached_property
    def _with_make(self) -> dict[Make, list[BlockModel]]:
        """The roots that have blocks of each make which models of several plans have."""
        found: dict[Make, list[BlockModel]] = {}
        for root in self.roots:
            for make in self.stacks[root.layout_id]:
                found.setdefault(make, []).append(root)
        return {make: roots for make, roots in found.items() if len({root.plan_id for root in roots}) > 1}

    @cached_property
    def _sampled(self) -> dict[tuple[str, Make], SampledBlocks]:
        """Where the plans sample those blocks."""
        blocks = {
            (root.plan_id, make): self.stacks[root.layout_id][make]
            for make, roots in self._with_make.items()
            for root in roots
        }
        plans = {plan_id: plan_by_id(self.catalog, plan_id) for plan_id, _ in blocks}
        found = {key: sampled_blocks(plans[key[0]], these) for key, these in blocks.items()}
        return {key: sampled for key, sampled in found.items() if sampled is not None}
