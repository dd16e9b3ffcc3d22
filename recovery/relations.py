"""What kind of step an edge is, and the numbers that say so."""

import math
from collections.abc import Mapping

import numpy as np

from recovery.adapted import adapter_rank, module_of
from recovery.gains import goes_on, mean_cosines
from recovery.step_shapes import is_sum_of_many, step_shape
from storage.types import COPY_KINDS, ClusterEvidence, PairEvidence, Relation

COPIES: Mapping[int, Relation] = {COPY_KINDS.index(kind): kind for kind in ("cast", "pruned", "quantized")}
GROUPS = {0: "row", -1: "tensor", -2: "column"}
"""What a scale of a quantised copy spans, where it is no fixed number of weights."""


CONTINUED_STEP = 0.25
"""Length of a step, as a share of the parent's weights, from which it is pre-training that went on."""


def relation_of(evidence: ClusterEvidence, parent: int, row: int) -> Relation | None:
    """What kind of step `row` of the pairs shows; None where there is no `parent` (-1).

    Equal matrices are a duplicate's, or of a model that was trained in gains, biases or a head of its own alone
    (`recovery.tuned_gains`).
    A parent whose pair was not compared (row -1) was found by passage: an ordinary step. Pre-training that goes on
    changes all layers, by a quarter of the parent's weights or more, adds to them, is the sum of many small steps
    (`recovery.step_shapes`), and moves gains and biases where they went before (`recovery.gains`). The kurtosis that
    the paper tells it by grew as often in fine-tuning (docs/research/direction.md).
    """
    if parent < 0:
        return None
    if row < 0:
        return "finetune"
    pairs = evidence.pairs
    if pairs.identical[row]:
        return "finetune" if _gains_changed(evidence, row) or _head_changed(evidence, row) else "duplicate"
    if pairs.copy[row] != 0:
        return COPIES[int(pairs.copy_kind[row])]
    if pairs.low_rank[row]:
        return "lora"
    return "pretrain" if _continued(evidence, parent, row) else "finetune"


def _continued(evidence: ClusterEvidence, parent: int, row: int) -> bool:
    pairs, layers = evidence.pairs, evidence.layers
    if layers is None or not layers.touched[row].all():
        return False
    child = int(pairs.left[row] + pairs.right[row]) - parent
    before, after = (_squared_norm(evidence, member) for member in (parent, child))
    if pairs.l2_squared[row] < CONTINUED_STEP**2 * before or after < before:
        return False
    if not goes_on(_cosine(evidence, parent, child)):
        return False
    return not evidence.sample or is_sum_of_many(step_shape(evidence.sample, parent, child))


def _gains_changed(evidence: ClusterEvidence, row: int) -> float:
    """Share of gains and biases that were trained where no matrix was; 0 where not known."""
    return float(evidence.gains_changed[row]) if len(evidence.gains_changed) else 0.0


def _head_changed(evidence: ClusterEvidence, row: int) -> bool:
    """Whether a head was trained where no compared matrix was; false where not known."""
    return bool(evidence.heads_changed[row]) if len(evidence.heads_changed) else False


def _cosine(evidence: ClusterEvidence, parent: int, child: int) -> float:
    """Of what the parent's gains and biases have moved and the step from there; NaN where not known."""
    return float(mean_cosines(evidence.gains, [parent], [child])[0])


def _squared_norm(evidence: ClusterEvidence, member: int) -> float:
    moments = evidence.moments
    return float((moments.count[member] * (moments.variance[member] + moments.mean[member] ** 2)).sum())


def details_of(evidence: ClusterEvidence, parent: int, row: int) -> Mapping[str, object]:
    """The numbers behind the relation of `row`, as JSON values; nothing for row -1.

    Bits, group, sparsity and agreement of copies; the rank of an adapter, by layer where layers differ, and the kinds
    of modules it touched; of every trained step its size, its shape, the layers it left alone and
    whether gains and biases went on.
    """
    if row < 0:
        return {}
    if evidence.pairs.identical[row]:
        changed = _gains_changed(evidence, row)
        said = {"gains_changed": round(changed, 6)} if changed else {}
        return said | ({"head_changed": True} if _head_changed(evidence, row) else {})
    if evidence.pairs.copy[row] != 0:
        return _copy_details(evidence.pairs, row)
    return _step_details(evidence, parent, row)


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


def _step_details(evidence: ClusterEvidence, parent: int, row: int) -> dict[str, object]:
    pairs = evidence.pairs
    details: dict[str, object] = {"step": float(np.sqrt(pairs.l2_squared[row] / max(pairs.norm_squared[row], 1e-300)))}
    if evidence.layers is None:
        return details
    layers = evidence.layers
    touched = {layers.names[i]: int(layers.rank[row, i]) for i in np.flatnonzero(layers.touched[row])}
    details["untouched_layers"] = len(layers.names) - len(touched)
    shape = step_shape(evidence.sample, int(pairs.left[row]), int(pairs.right[row]))
    if not math.isnan(shape):
        details["shape"] = round(shape, 4)
    cosine = _cosine(evidence, parent, int(pairs.left[row] + pairs.right[row]) - parent)
    if not math.isnan(cosine):
        details["gains_cosine"] = round(cosine, 4)
    if pairs.low_rank[row]:
        details["rank"] = adapter_rank(list(touched.values()), [module_of(name) for name in touched])
        details["modules"] = sorted({module_of(name) for name in touched})
        if len(set(touched.values())) > 1:
            details["ranks"] = touched
    return details
