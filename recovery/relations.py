"""What kind of step an edge is, and the numbers that say so."""

import math
from collections.abc import Mapping

import numpy as np

from storage.types import COPY_KINDS, ClusterEvidence, PairEvidence, Relation

COPIES: Mapping[int, Relation] = {COPY_KINDS.index(kind): kind for kind in ("cast", "pruned", "quantized")}
GROUPS = {0: "row", -1: "tensor", -2: "column"}
"""What a scale of a quantised copy spans, where it is no fixed number of weights."""


def relation_of(pairs: PairEvidence, parent: int, row: int) -> Relation | None:
    """What kind of step `row` of the pairs shows; None where there is no `parent` (-1).

    A parent whose pair was not compared (row -1) was found by passage: an ordinary step.
    """
    if parent < 0:
        return None
    if row < 0:
        return "finetune"
    if pairs.identical[row]:
        return "duplicate"
    if pairs.copy[row] != 0:
        return COPIES[int(pairs.copy_kind[row])]
    return "lora" if pairs.low_rank[row] else "finetune"


def details_of(evidence: ClusterEvidence, row: int) -> Mapping[str, object]:
    """The numbers behind the relation of `row`, as JSON values; nothing for row -1.

    Bits, group, sparsity and agreement of copies; the rank of an adapter, by layer where layers differ, and the kinds
    of modules it touched; of every trained step its size and the layers it left alone.
    """
    if row < 0 or evidence.pairs.identical[row]:
        return {}
    if evidence.pairs.copy[row] != 0:
        return _copy_details(evidence.pairs, row)
    return _step_details(evidence, row)


def _copy_details(pairs: PairEvidence, row: int) -> dict[str, object]:
    kind = COPIES[int(pairs.copy_kind[row])]
    details: dict[str, object] = {"agreement": float(pairs.copy_agreement[row])}
    if kind != "pruned":
        details["bits"] = int(pairs.copy_bits[row])
    group = pairs.copy_group[row]
    if kind == "quantized" and not math.isnan(group):
        details["group"] = GROUPS.get(int(group), int(group))
    if kind == "pruned":
        details["sparsity"] = round(float(pairs.copy_sparsity[row]), 6)
        if group > 0:
            details["pattern"] = f"{int(group) // 2}:{int(group)}"
    return details


def _step_details(evidence: ClusterEvidence, row: int) -> dict[str, object]:
    pairs = evidence.pairs
    details: dict[str, object] = {"step": float(np.sqrt(pairs.l2_squared[row] / max(pairs.norm_squared[row], 1e-300)))}
    if evidence.layers is None:
        return details
    ranks = dict(zip(evidence.layers.names, evidence.layers.rank[row].tolist(), strict=True))
    touched = {name: rank for name, rank in ranks.items() if rank > 0}
    details["untouched_layers"] = len(ranks) - len(touched)
    if pairs.low_rank[row]:
        details["rank"] = max(touched.values())
        details["modules"] = sorted({module_of(name) for name in touched})
        if len(set(touched.values())) > 1:
            details["ranks"] = touched
    return details


def module_of(layer: str) -> str:
    """The kind of module a layer belongs to: its name's last word that is no number and not just "weight"."""
    words = [word for word in layer.split(".") if not word.isdigit() and word not in {"weight", "base_layer"}]
    return words[-1] if words else layer
