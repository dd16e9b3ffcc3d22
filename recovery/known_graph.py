"""The Model Graph as it truly is: what recovered graphs are judged against."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

STRENGTH = ("duplicate", "cast", "pruned", "quantized", "lora", "finetune", "pretrain", "adapter", "merge")
"""Relations by how much they change: of two steps in a row the later in this order is what the whole looks like."""


@dataclass(frozen=True, slots=True)
class TrueModel:
    """One model as its makers know it."""

    parents: Mapping[str, float] = field(default_factory=dict)  # weight by name; none of a root
    relation: str | None = None  # to its parents; None at a root, and where nobody says
    present: bool = True  # False where it was left out of the Hub: what recovery calls a ghost
    family: str | None = None
    architecture: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)
    contracted: bool = False  # its parents are grandparents: a model between is missing and cannot be seen


Truth = Mapping[str, TrueModel]
"""Every model by name. A parent that is no key is a model whose own parents nobody knows."""


@dataclass(frozen=True, slots=True)
class KnownGraph:
    """What can be recovered of a truth, missing models and equal weights considered.

    Missing models. Two or more children without their parent have a step in common, so the parent is a ghost that can
    be found. Less children show nothing of it: it is contracted, and its child's parent is the nearest ancestor that is
    there (or a ghost); where there is none the child is a root. The relation of the contracted steps is the stronger.

    Equal weights. Which of several duplicates is the original, or had a child, cannot be read from weights: `original`
    names the topmost of each set of duplicates, and edges are compared between these sets.
    """

    models: Mapping[str, TrueModel]  # those that are there, with parents as they can be found, and all ghosts
    unknown: frozenset[str]  # parents that are no keys of the truth: neither judged as roots nor as children
    original: Mapping[str, str]  # of every model, the topmost with the same weights
    cluster: Mapping[str, str]  # of every model, a name of its connected component of the whole truth

    @property
    def ghosts(self) -> dict[str, frozenset[str]]:
        """The children's originals of every missing model that can be found."""
        children: dict[str, set[str]] = {name: set() for name, model in self.models.items() if not model.present}
        for child, model in self.models.items():
            for parent in model.parents.keys() & children.keys():
                children[parent].add(self.original[child])
        return {ghost: frozenset(these) for ghost, these in children.items()}

    @property
    def present(self) -> set[str]:
        """All models that should be in an index."""
        return {name for name, model in self.models.items() if model.present} | self.unknown

    @property
    def roots(self) -> set[str]:
        """All without parents, of whom that is known; ghosts among them."""
        return {name for name, model in self.models.items() if not model.parents}


def known_graph(truth: Truth) -> KnownGraph:
    """What can be recovered of a truth. Raises `ValueError` naming models that are their own ancestors."""
    everyone = set(truth) | {parent for model in truth.values() for parent in model.parents}
    models = _contracted(truth)
    whole = ((parent, child) for child, model in truth.items() for parent in model.parents)
    return KnownGraph(
        models=models,
        unknown=frozenset(everyone - set(truth)),
        original={name: _original(models, name) for name in everyone},
        cluster=_components(everyone, whole),
    )


def _contracted(truth: Truth) -> dict[str, TrueModel]:
    """The truth without those missing models that have fewer than two children, from the leaves up."""
    try:
        downwards = list(
            TopologicalSorter({name: sorted(model.parents) for name, model in truth.items()}).static_order()
        )
    except CycleError as error:
        raise ValueError(f"{' -> '.join(error.args[1])}: a model cannot be its own ancestor") from error
    models = dict(truth)
    children: dict[str, set[str]] = {}
    for name in reversed(downwards):  # whoever comes has its children settled
        below = children.get(name, set())
        if name in models and not models[name].present and len(below) < 2:  # noqa: PLR2004 - siblings show a parent
            gone = models.pop(name)
            models |= {child: _passed_over(models[child], name, gone) for child in below}
            for parent in gone.parents:
                children.setdefault(parent, set()).update(below)
        elif name in models:
            for parent in models[name].parents:
                children.setdefault(parent, set()).add(name)
    return models


def _passed_over(child: TrueModel, name: str, gone: TrueModel) -> TrueModel:
    """A child whose parent `name` is taken out: that one's parents take its place, with its share of the child."""
    parents = Counter({parent: weight for parent, weight in child.parents.items() if parent != name})
    parents.update({parent: weight * child.parents[name] for parent, weight in gone.parents.items()})
    relation: str | None = None
    if parents:
        relation = max((child.relation, gone.relation), key=_strength)
    return replace(child, parents=dict(parents), relation=relation, contracted=True)


def _strength(relation: str | None) -> int:
    return STRENGTH.index(relation) if relation in STRENGTH else -1


def _original(models: Mapping[str, TrueModel], name: str) -> str:
    while name in models and models[name].relation == "duplicate" and models[name].parents:
        name = next(iter(models[name].parents))
    return name


def _components(models: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each model's weak component, named by one of its models."""
    above = {model: model for model in models}

    def top(model: str) -> str:
        while above[model] != model:
            above[model] = model = above[above[model]]
        return model

    for a, b in edges:
        above[top(a)] = top(b)
    return {model: top(model) for model in above}
