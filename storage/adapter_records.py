"""What is stored of unmerged adapters: every model's tensors, what adapters change, and the model each hangs on."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from storage.catalog import Catalog
from storage.types import WeightArray
from storage.vectors import read_fingerprints


@dataclass(frozen=True, slots=True)
class Layout:
    """The tensors of a model by canonical name, or the modules that an adapter changes by path; sorted by name."""

    names: tuple[str, ...]
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    ranks: tuple[int, ...] = ()  # of an adapter's factors
    dora: tuple[bool, ...] = ()  # of an adapter's modules

    @property
    def layout_id(self) -> str:
        """Digest of all of it: the same for every model that has these tensors."""
        text = json.dumps([self.names, self.rows, self.cols, self.ranks, self.dora])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ModelLayout:
    """The layout of one revision; `configured_base` is what an adapter's configuration names as its base."""

    hub_id: str
    revision: str
    layout: Layout
    is_adapter: bool = False
    configured_base: str | None = None


@dataclass(frozen=True, slots=True)
class AdapterRoot:
    """The first adapter of a cluster of adapters; `root_id` is another node, a ghost, where that one is missing."""

    root_id: str
    hub_id: str
    revision: str
    layout_id: str
    plan_id: str
    file_name: str
    row_number: int
    declared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A model that an adapter may have been made for."""

    layout_id: str
    cluster_id: str
    hub_id: str
    revision: str
    repo_id: str
    weight_files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdapterScore:
    """What the weights of an adapter say of a model."""

    adapter_id: str
    base_id: str
    score: float
    units: int


@dataclass(frozen=True, slots=True)
class AdapterEdge:
    """An edge from a model to the first adapter of a cluster; details are a JSON object as text."""

    root: AdapterRoot
    base: BaseModel
    confidence: float
    details: str


def put_layouts(catalog: Catalog, models: Sequence[ModelLayout]) -> None:
    """Stores the layouts of a batch of models that were read.

    Before their fingerprints: a crash in between leaves layouts that the next crawl writes again, while a fingerprint
    without its layout would count as done.
    """
    distinct = {model.layout.layout_id: model.layout for model in models}
    with catalog.database.transaction():
        catalog.database.write(
            "put_layouts",
            layout_id=list(distinct),
            **{
                part: [list(getattr(layout, part)) for layout in distinct.values()]
                for part in ("names", "rows", "cols", "ranks", "dora")
            },
        )
        catalog.database.write(
            "put_model_layouts",
            hub_id=[model.hub_id for model in models],
            revision=[model.revision for model in models],
            layout_id=[model.layout.layout_id for model in models],
            is_adapter=[model.is_adapter for model in models],
            configured_base=[model.configured_base for model in models],
        )
        catalog.database.write("mark_layouts_known", hub_ids=[model.hub_id for model in models])


def forget_absent_adapters(catalog: Catalog) -> None:
    """Drops layouts and scores of what left the index."""
    with catalog.database.transaction():
        for name in ("forget_absent_model_layouts", "forget_absent_layouts", "forget_absent_scores"):
            catalog.database.write(name)


def adapter_roots(catalog: Catalog) -> list[AdapterRoot]:
    """The first adapter of every recovered cluster, in order of root and hub id."""
    return [AdapterRoot(*(*row[:7], tuple(row[7]))) for row in catalog.database.rows("adapter_roots")]


def layouts(catalog: Catalog, *, of_adapters: bool) -> dict[str, Layout]:
    """All layouts of adapters, or of other models, by id."""
    rows = catalog.database.rows("layouts", is_adapter=of_adapters)
    return {row[0]: Layout(*(tuple(part) for part in row[1:])) for row in rows}


def bases_of_layouts(catalog: Catalog, layout_ids: Iterable[str]) -> list[BaseModel]:
    """Models of these layouts: large families first, in each the models nearest to its root first."""
    rows = catalog.database.rows("bases_of_layouts", layout_ids=sorted(layout_ids))
    return [BaseModel(*(*row[:5], tuple(row[5]))) for row in rows]


def sampled_values(catalog: Catalog, root: AdapterRoot) -> WeightArray:
    """(plan.weights,) float32: the fingerprint of an adapter."""
    return np.asarray(read_fingerprints(catalog.fingerprints, [root.file_name], np.asarray([root.row_number]))[0])


def stored_scores(catalog: Catalog) -> dict[tuple[str, str], AdapterScore]:
    """What is known already, by adapter and base."""
    rows = catalog.database.rows("adapter_scores")
    return {(row[0], row[1]): AdapterScore(*row) for row in rows}


def put_score(catalog: Catalog, root: AdapterRoot, base: BaseModel, *, score: float, units: int) -> None:
    """Stores what the weights of an adapter say of a model."""
    catalog.database.write(
        "put_adapter_score",
        adapter_id=root.hub_id,
        adapter_revision=root.revision,
        base_id=base.hub_id,
        base_revision=base.revision,
        score=score,
        units=units,
    )


def commit_adapter_edges(catalog: Catalog, edges: Sequence[AdapterEdge]) -> None:
    """Stores which models adapters hang on, in place of all such edges before."""
    with catalog.database.transaction():
        catalog.database.write("drop_adapter_edges")
        catalog.database.write(
            "put_edges",
            evidence="fingerprint",
            is_graft=True,
            child_id=[edge.root.root_id for edge in edges],
            parent_id=[edge.base.hub_id for edge in edges],
            child_revision=[_revision(edge.root) for edge in edges],
            parent_revision=[edge.base.revision for edge in edges],
            relation=["adapter"] * len(edges),
            confidence=[edge.confidence for edge in edges],
            weight=[1.0] * len(edges),
            support=[None] * len(edges),
            details=[edge.details for edge in edges],
            is_heaviest=[True] * len(edges),
        )


def _revision(root: AdapterRoot) -> str | None:
    return root.revision if root.root_id == root.hub_id else None
