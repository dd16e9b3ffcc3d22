"""Adapters: the model that each unmerged adapter was made for, by its weights, by its card where they are silent."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from modelkin.config import Config
from modelkin.pipeline.hub_address import HubAddress
from modelkin.pipeline.member_source import Opener, finite
from modelkin.pipeline.recover_step import opened
from modelkin.progress import Progress
from recovery.adapters import (
    DECLARED_CONFIDENCE,
    Alignment,
    ModuleShape,
    adapter_details,
    alignment,
    matching_tensors,
    paths_of_sampled,
    tensors_by_module,
)
from storage.adapter_records import (
    AdapterEdge,
    AdapterRoot,
    BaseModel,
    Layout,
    adapter_roots,
    bases_of_layouts,
    commit_adapter_edges,
    forget_absent_adapters,
    layouts,
    put_score,
    sampled_values,
    stored_scores,
)
from storage.catalog import Catalog
from storage.errors import ModelUnreadable
from storage.graph_records import plan_by_id
from storage.types import SamplePlan, TensorSource, WeightArray

MOST_FAMILIES = 16
"""Families whose weights are compared with an adapter's, the largest: each costs some requests to the Hub."""

MOST_BLOCKS, MOST_ROWS = 16, 128
"""Modules, and rows of each, that are compared; a family scores with the product of both."""

LEAST_CONFIDENCE = 0.05

_OUTPUT_FACTOR = ".lora_B"

Fit = Mapping[str, tuple[str, bool]]
"""Module path -> (tensor of the model, whether stored transposed)."""


@dataclass(frozen=True, slots=True)
class Case:
    """An adapter and the models whose tensors it fits, family by family."""

    root: AdapterRoot
    layout: Layout
    fits: Mapping[str, Fit]  # by layout of the models
    bases: Sequence[BaseModel]

    @property
    def declared(self) -> list[BaseModel]:
        """Those that the adapter's card or configuration names."""
        return [base for base in self.bases if base.repo_id in self.root.declared]

    @property
    def families(self) -> dict[str, list[BaseModel]]:
        """The models by cluster, each nearest to its root first."""
        found: dict[str, list[BaseModel]] = {}
        for base in self.bases:
            found.setdefault(base.cluster_id, []).append(base)
        return found

    @property
    def contenders(self) -> list[BaseModel]:
        """The models to compare with: one for each family, and those that are declared."""
        first = [family[0] for family in list(self.families.values())[:MOST_FAMILIES]]
        return first + [base for base in self.declared if base not in first]


@dataclass(frozen=True)
class AdapterStep:
    """Hangs every adapter on its base, in place of all such edges before."""

    catalog: Catalog
    config: Config
    progress: Progress

    def run(self, address: HubAddress) -> None:
        """Compares what was not compared yet, and decides for every adapter anew: bases come and go."""
        forget_absent_adapters(self.catalog)
        cases = self._cases()
        self._compare(cases, address)
        scores = {key: Alignment(found.score, found.units) for key, found in stored_scores(self.catalog).items()}
        edges = {edge.root.root_id: edge for case in reversed(cases) if (edge := _decide(case, scores))}
        commit_adapter_edges(self.catalog, list(edges.values()))

    def _cases(self) -> list[Case]:
        models = {
            layout_id: tensors_by_module(layout.names, layout.rows, layout.cols)
            for layout_id, layout in layouts(self.catalog, of_adapters=False).items()
        }
        found: dict[str, tuple[Mapping[str, Fit], Sequence[BaseModel]]] = {}
        for layout_id, layout in self._adapter_layouts.items():
            modules = [ModuleShape(*module) for module in zip(layout.names, layout.rows, layout.cols, strict=True)]
            fits = {key: fit for key, tensors in models.items() if (fit := matching_tensors(modules, tensors))}
            found[layout_id] = fits, bases_of_layouts(self.catalog, fits) if fits else []
        return [
            Case(root, self._adapter_layouts[root.layout_id], *found[root.layout_id])
            for root in adapter_roots(self.catalog)
        ]

    @cached_property
    def _adapter_layouts(self) -> dict[str, Layout]:
        return layouts(self.catalog, of_adapters=True)

    def _compare(self, cases: Sequence[Case], address: HubAddress) -> None:
        known = stored_scores(self.catalog)
        wanted = [(c, base) for c in cases for base in c.contenders if (c.root.hub_id, base.hub_id) not in known]
        if not wanted:
            return
        self.progress.start("compare adapters", len(wanted))
        with opened(address, self.config) as opener:
            for case, base in wanted:
                self._score(case, base, opener)
                self.progress.advance()

    def _score(self, case: Case, base: BaseModel, opener: Opener) -> None:
        """A model that cannot be read now is left without a score, and asked again by the next run."""
        plan = plan_by_id(self.catalog, case.root.plan_id)
        blocks = list(_output_factors(plan, sampled_values(self.catalog, case.root), case.layout))
        try:
            source = opener(base.repo_id, base.revision, base.weight_files)
            found = alignment(_pairs(blocks, case.fits[base.layout_id], source))
        except ModelUnreadable as error:
            self.progress.note(f"{base.repo_id} cannot be compared with an adapter: {error.detail}")
            return
        put_score(self.catalog, case.root, base, score=found.score, units=found.units)


def _output_factors(plan: SamplePlan, values: WeightArray, layout: Layout) -> Iterator[tuple[str, int, WeightArray]]:
    """Path of the module, first row, and rows of each factor B that was sampled; of many, a spread few."""
    places = [place for place, name in enumerate(plan.names) if _OUTPUT_FACTOR in name]
    sampled = [
        (plan.names[place].partition(_OUTPUT_FACTOR)[0], int(plan.tensor_rows[place]), int(plan.cols[place]))
        for place in places
    ]
    modules = dict(zip(layout.names, zip(layout.rows, layout.ranks, strict=True), strict=True))
    paths = paths_of_sampled(sampled, modules) or []
    step = max(1, -(-len(paths) // MOST_BLOCKS))
    for path, place in list(zip(paths, places, strict=False))[::step]:
        begin, end = plan.offsets[place : place + 2]
        yield path, int(plan.row_start[place]), values[begin:end].reshape(-1, plan.cols[place])[:MOST_ROWS]


def _pairs(
    blocks: Sequence[tuple[str, int, WeightArray]], fit: Fit, source: TensorSource
) -> list[tuple[WeightArray, WeightArray]]:
    """The model's rows beside the adapter's. Raises `ModelUnreadable`."""
    pairs = []
    for path, start, rows in blocks:
        weights = _same_rows(source, *fit[path], start=start, stop=start + len(rows))
        pairs.append((finite(weights, fit[path][0]), rows))
    return pairs


def _same_rows(source: TensorSource, name: str, transposed: bool, *, start: int, stop: int) -> WeightArray:  # noqa: FBT001 - as a fit has it
    """Rows of a module's weights; of one stored inputs x outputs by as many of its inputs as rows are compared."""
    if not transposed:
        return source.read(name, start, stop)
    return source.read(name, 0, min(source.tensors[name].rows, MOST_ROWS))[:, start:stop].T


def _decide(case: Case, scores: Mapping[tuple[str, str], Alignment]) -> AdapterEdge | None:
    """The edge from an adapter's base, None where neither weights nor card tell one."""
    found = {base: scores.get((case.root.hub_id, base.hub_id), Alignment(0.0, 0)) for base in case.contenders}
    best = max(found, key=lambda base: found[base].score, default=None)
    if best is not None and found[best].is_family:
        family = case.families[best.cluster_id]
        declared = next((base for base in family if base in case.declared), None)
        if declared is not None:
            return _edge(case, declared, "both", DECLARED_CONFIDENCE)
        return _edge(case, family[0], "weights", max(1 / len(family), LEAST_CONFIDENCE))
    claimed = next((base for base in case.declared if not found[base].is_stranger), None)
    return _edge(case, claimed, "declared", DECLARED_CONFIDENCE) if claimed is not None else None


def _edge(case: Case, base: BaseModel, known_from: str, confidence: float) -> AdapterEdge:
    layout = case.layout
    details = adapter_details(layout.names, layout.ranks, layout.dora, base=known_from)
    return AdapterEdge(case.root, base, confidence, json.dumps(details, sort_keys=True))
