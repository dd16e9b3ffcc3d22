"""The plan of one family: a random tree, some of it copied, merged or left out, and strangers beside it.

A pure function of (seed, number): it can be printed and tested without training anything.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from scripts.training.corpora import Data, Source
from scripts.training.learning import Training
from scripts.training.nets import Architecture, NetShape
from scripts.wild.kinship import TRAINED, common_base, depth, named, with_declared_bases, with_one_missing
from scripts.wild.members import Copying, Dtype, Layout, Making, Member, Relation, Size
from scripts.wild.names import family_names
from scripts.wild.recipes import (
    EDGE_MIX,
    draw_dtype,
    draw_lora,
    draw_merging,
    draw_pretraining,
    draw_pruning,
    draw_quantization,
    draw_root,
    draw_tuning,
    number,
    pick,
)

ARCHITECTURES: tuple[Architecture, ...] = (
    "llama",
    "bert",
    "vit",
    "conv",
    "llama",
    "lstm",
    "bert",
    "vit",
    "llama",
    "gru",
    "bert",
    "conv",
)
MOST_DEPTH = 4
COPIES_ODDS = 0.12
TOPICS = 5
TEXT_CLASSES, IMAGE_CLASSES = 4, 8
FIRST_CREATED = datetime(2026, 1, 5, 8, tzinfo=UTC)


def plan_family(seed: int, family: int, size: Size) -> list[Member]:
    """All models of one family, parents before children. Raises `ValueError` beyond the names there are."""
    architecture = _architecture(seed, family)
    generator = np.random.default_rng([seed, family, 11])
    tree = _Tree(
        f"wild-{family:02d}-{architecture}", size, generator, family_names(seed, family),
        _shape(architecture, size, generator), number(generator) % 2**20,
    )  # fmt: skip
    tree.plant()
    for relation in _relations(int(generator.integers(size.members[0], size.members[1] + 1)) - 1, generator):
        tree.grow(relation)
    tree.add_strangers()
    return with_declared_bases(with_one_missing(tree.members, generator), generator)


def _architecture(seed: int, family: int) -> Architecture:
    """Every dozen of families holds each architecture, in an order of the seed."""
    dozen, place = divmod(family, len(ARCHITECTURES))
    return ARCHITECTURES[int(np.random.default_rng([seed, dozen, 12]).permutation(len(ARCHITECTURES))[place])]


def _shape(architecture: Architecture, size: Size, generator: np.random.Generator) -> NetShape:
    """Mostly the usual shape, so that families of one architecture meet, else a wider one."""
    wider = generator.random() < 0.3  # noqa: PLR2004 - three of ten
    width, blocks = size.width * 3 // 2 if wider else size.width, size.blocks
    if architecture in ("vit", "conv"):
        of_conv = {"width": size.width, "blocks": 1 if wider else 2}
        plain = of_conv if architecture == "conv" else {"width": width, "blocks": 2 if wider else blocks}
        return NetShape(architecture, **plain, vocabulary=0, classes=IMAGE_CLASSES)
    if architecture in ("gru", "lstm"):
        return NetShape(
            architecture, size.width * (2 if wider else 3) // (1 if wider else 2), 2, _vocabulary(generator)
        )
    return NetShape(architecture, width, 2 if wider else blocks, _vocabulary(generator))


def _vocabulary(generator: np.random.Generator) -> int:
    """Tokens of a language, or bytes."""
    return pick(generator, (64, 256))


def _relations(count: int, generator: np.random.Generator) -> list[Relation]:
    """How the models after the root come to be, in their order; merges late, when there is something to merge."""
    kinds = list(EDGE_MIX)
    drawn = [pick(generator, kinds, list(EDGE_MIX.values())) for _ in range(count)]
    plain: list[Relation] = [relation for relation in drawn if relation != "merge"]
    for _ in range(count - len(plain)):
        plain.insert(int(generator.integers(len(plain) // 2, len(plain) + 1)), "merge")
    return plain


@dataclass
class _Tree:
    """A family while it is drawn."""

    family: str
    size: Size
    generator: np.random.Generator
    names: list[str]
    shape: NetShape
    data_seed: int
    members: list[Member] = field(default_factory=list)

    @property
    def general(self) -> Data:
        """What the root learns."""
        source: Source = "language"
        if self.shape.vocabulary != Data(source, 0).vocabulary:
            source = "bytes" if self.shape.vocabulary else "images"
        return Data(source, self.data_seed)

    def plant(self) -> None:
        """The root."""
        self._add(None, (), draw_root(self.generator, self.general, self.size), draw_dtype(self.generator, None))

    def grow(self, relation: Relation) -> None:
        """A child made in this way, or by fine-tuning where nothing here can be made so."""
        relation = _possible(relation, self.shape.architecture)
        if relation == "merge" and self._merge():
            return
        if relation in ("quantized", "pruned", "duplicate", "cast") and self._copy(relation):
            return
        self._train(relation if relation in ("pretrain", "lora", "adapter") else "finetune")

    def add_strangers(self) -> None:
        """Roots alike in all but their random numbers; seldom one of the same random start on other data."""
        count = min(self.size.most_strangers, pick(self.generator, (0, 2, 3, 4), (0.65, 0.2, 0.1, 0.05)))
        for place in range(count):
            self._stranger(draw_root(self.generator, self.general, self.size), place, {"stranger_to": self.family})
        if self.generator.random() < 0.15:  # noqa: PLR2004 - few
            root = self.members[0].making
            init = root.seed if isinstance(root, Training) else 0
            other = draw_root(self.generator, replace(self.general, seed=self.data_seed + 1), self.size)
            note: dict[str, object] = {"stranger_to": self.family, "same_initialisation_as": self.members[0].name}
            self._stranger(replace(other, init_seed=init), count, note)

    def _stranger(self, making: Training, place: int, notes: dict[str, object]) -> None:
        self._add(None, (), making, draw_dtype(self.generator, None))
        self.members[-1] = replace(self.members[-1], family=f"{self.family}-stranger-{place + 1}", notes=notes)

    def _add(self, relation: Relation | None, parents: tuple[Member, ...], making: Making, dtype: Dtype) -> None:
        born = max((parent.created for parent in parents), default=FIRST_CREATED)
        created = born + timedelta(hours=float(self.generator.uniform(1, 400)))
        layouts: tuple[Layout, ...] = ("single", "sharded")
        odds: tuple[float, ...] = (0.85, 0.15)
        if relation == "duplicate":
            layouts, odds = ("single", "sharded", "reordered", "renamed"), (0.4, 0.2, 0.2, 0.2)
        layout = "single" if relation == "adapter" else pick(self.generator, layouts, odds)
        shape = parents[0].shape if parents else self.shape
        names = tuple(parent.name for parent in parents)
        self.members.append(
            Member(self.names[len(self.members)], self.family, relation, names, making, shape, dtype, layout, created)
        )

    def _train(self, relation: Relation) -> None:
        generator, parent = self.generator, self._parent(relation)
        shape, data = parent.shape, self._data(parent)
        if relation == "pretrain":
            making = draw_pretraining(generator, self.general, self.size)
        elif relation == "finetune":
            making = draw_tuning(generator, data, self.size, shape.architecture)
            shape = self._resized(shape)
        else:
            making = draw_lora(generator, data, self.size, shape.architecture)
        dtype = "bf16" if making.pure_bf16 else draw_dtype(generator, parent.dtype)
        self._add(relation, (parent,), making, dtype)
        rounded = parent.relation in TRAINED and generator.random() < 0.2  # noqa: PLR2004 - every fifth
        self.members[-1] = replace(self.members[-1], shape=shape, from_master=rounded)

    def _resized(self, shape: NetShape) -> NetShape:
        """Seldom a new head, or more tokens."""
        chance = self.generator.random()
        if chance < 0.15:  # noqa: PLR2004 - as often as heads are new
            return replace(shape, classes=TEXT_CLASSES if shape.vocabulary else pick(self.generator, (4, 16)))
        if chance < 0.22 and shape.vocabulary:  # noqa: PLR2004 - as often as vocabularies grow
            return replace(shape, vocabulary=shape.vocabulary + 16)
        return shape

    def _data(self, parent: Member) -> Data:
        """A sibling's data, the grandparent's again, or a topic by lot."""
        chance = self.generator.random()
        siblings = [member.making.data for member in self.members
                    if member.parents == (parent.name,) and isinstance(member.making, Training)]  # fmt: skip
        if chance < 0.4 and siblings:  # noqa: PLR2004 - two of five
            return pick(self.generator, siblings)
        above = named(self.members, parent.parents[0]).making if parent.parents else None
        if chance < 0.55 and isinstance(above, Training):  # noqa: PLR2004 - some undo the parent's step
            return above.data
        return replace(self.general, topic=int(self.generator.integers(1, TOPICS + 1)))

    def _parent(self, relation: Relation) -> Member:
        """Whoever can have children, copies seldom; pre-training goes on with the root's head."""
        fit = [member for member in self._fertile() if member.relation not in ("adapter", "duplicate")]
        if relation == "pretrain":
            fit = [member for member in fit if member.shape == self.shape]
        odds = [1.0 if member.relation in TRAINED else COPIES_ODDS for member in fit]
        return pick(self.generator, fit, odds)

    def _fertile(self) -> list[Member]:
        """Those whose children would not lie too deep."""
        return [member for member in self.members if depth(self.members, member) < MOST_DEPTH]

    def _copy(self, relation: Relation) -> bool:
        """Adds a copy made without training; False where nothing can be copied. Without fp32 a cast is a duplicate."""
        generator = self.generator
        fit = [member for member in self._fertile() if member.relation in TRAINED]
        wide = [member for member in fit if member.dtype == "fp32"]
        if relation == "cast" and not wide:
            relation = "duplicate"
        if not fit:
            return False
        parent = pick(generator, wide if relation == "cast" else fit)
        if relation == "quantized":
            dtype: Dtype = pick(generator, ("fp16", "bf16", "fp32"))
            self._add(relation, (parent,), draw_quantization(generator), dtype)
        elif relation == "pruned":
            self._add(relation, (parent,), draw_pruning(generator), parent.dtype)
        else:
            dtype = pick(generator, ("bf16", "fp16"), (0.6, 0.4)) if relation == "cast" else parent.dtype
            self._add(relation, (parent,), Copying(), dtype)
        return True

    def _merge(self) -> bool:
        """Adds a merge of two or three trained models of one shape; False where there are none."""
        fit = [member for member in self._fertile() if member.relation in TRAINED]
        alike = Counter(member.shape for member in fit)
        fit = [member for member in fit if alike[member.shape] > 1]
        if not fit:
            return False
        for _ in range(8 if self.generator.random() < 0.7 else 1):  # noqa: PLR2004 - mostly kin of one base
            parents = self._sources(fit)
            if common_base(self.members, parents):
                break
        blocks = 3 if self.shape.architecture == "conv" else self.shape.blocks
        making = draw_merging(self.generator, len(parents), common_base(self.members, parents), blocks=blocks)
        self._add("merge", parents, making, draw_dtype(self.generator, parents[0].dtype))
        return True

    def _sources(self, fit: list[Member]) -> tuple[Member, ...]:
        """Two or three of `fit` of one shape."""
        first = pick(self.generator, fit)
        others = [member for member in fit if member.shape == first.shape and member is not first]
        count = min(len(others), 1 if self.generator.random() < 0.65 else 2)  # noqa: PLR2004 - mostly two parents
        return (first, *(others[place] for place in self.generator.permutation(len(others))[:count].tolist()))


def _possible(relation: Relation, architecture: Architecture) -> Relation:
    """Nobody adapts recurrent nets, and adapters of kernels are merged."""
    if architecture in ("gru", "lstm") and relation in ("lora", "adapter"):
        return "finetune"
    return "lora" if architecture == "conv" and relation == "adapter" else relation
