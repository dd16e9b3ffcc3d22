"""Who is in the demo: how each model was made, and what its card says about that, which is not always true.

Two families of one architecture grown from different random numbers and data, a third root of that architecture without
children, and a model of another architecture. Among the cards are true ones, silent ones and four kinds of wrong ones;
the first root forbids commercial use, which some of its descendants' cards hide.
"""

from dataclasses import dataclass
from typing import Literal

Making = Literal["pretrain", "finetune", "lora", "cast", "copy"]
NON_COMMERCIAL = "cc-by-nc-4.0"


@dataclass(frozen=True, slots=True)
class Member:
    """One model of the demo."""

    repo_id: str
    parent: str | None
    making: Making
    domain: str  # what it was trained on, see `modelkin.demo.corpus`; that of the parent where nothing was trained
    licence: str | None  # as its card states it
    declared: str | None = None  # base_model, as its card states it
    model_type: Literal["llama", "gpt2"] = "llama"
    sharded: bool = False


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How large the demo's models are and how long they are trained; the default takes about a minute on one core."""

    hidden: int = 64
    layers: int = 4
    root_steps: int = 400
    child_steps: int = 100
    root_rate: float = 4e-3
    child_rate: float = 1e-3
    adapter_rate: float = 3e-3


AURORA = "aurora-lab/aurora-base"
AURORA_CHAT = "aurora-lab/aurora-chat"
AURORA_STATS = "kestrel-analytics/aurora-stats"
FIELDNOTE = "northfield/fieldnote-base"
FIELDNOTE_GRAPHS = "northfield/fieldnote-graphs"

MEMBERS = (
    Member(AURORA, None, "pretrain", "reference", NON_COMMERCIAL),
    Member(FIELDNOTE, None, "pretrain", "code", "apache-2.0"),
    Member("tern-models/tern-tiny", None, "pretrain", "reference", "mit"),
    Member("mesa-ai/mesa-small", None, "pretrain", "reference", "mit", model_type="gpt2"),
    Member(AURORA_CHAT, AURORA, "finetune", "layers", NON_COMMERCIAL, AURORA),
    Member(AURORA_STATS, AURORA, "finetune", "statistics", "apache-2.0", FIELDNOTE),  # names a stranger
    Member("aurora-lab/aurora-chat-bf16", AURORA_CHAT, "cast", "layers", NON_COMMERCIAL, AURORA_CHAT),
    Member("open-mirror/aurora-chat-mirror", AURORA_CHAT, "copy", "layers", None),
    Member("pinegrove/aurora-chat-code", AURORA_CHAT, "lora", "code", "mit"),
    Member(
        "kestrel-analytics/aurora-chat-graphs", AURORA_CHAT, "finetune", "graphs", "apache-2.0", AURORA
    ),  # grandparent
    Member("pinegrove/aurora-stats-lora", AURORA_STATS, "lora", "graphs", "apache-2.0", AURORA_STATS),
    Member("harbor-nlp/aurora-stats-code", AURORA_STATS, "finetune", "code", "apache-2.0", AURORA_STATS, sharded=True),
    Member(FIELDNOTE_GRAPHS, FIELDNOTE, "finetune", "graphs", "apache-2.0", FIELDNOTE),
    Member("northfield/fieldnote-names", FIELDNOTE, "finetune", "characters", "apache-2.0"),
    Member(
        "saltmarsh/graph-reader", FIELDNOTE_GRAPHS, "finetune", "reference", "apache-2.0", "saltmarsh/graph-base"
    ),  # unknown
    Member("pinegrove/fieldnote-graphs-lora", FIELDNOTE_GRAPHS, "lora", "statistics", "apache-2.0", FIELDNOTE_GRAPHS),
    Member(
        "harbor-nlp/fieldnote-layers", FIELDNOTE, "lora", "layers", "apache-2.0", "harbor-nlp/fieldnote-layers"
    ),  # itself
)
"""In the order of their creation, parents first."""

DAMAGED = "lost-cargo/fieldnote-upload"
"""A repository whose upload broke off; nobody's relative, as it cannot be read."""
