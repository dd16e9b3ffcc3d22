"""The values that travel between the stages: what a crawl reads, what an index relates, what a recovery concludes.

Every class is frozen and slotted. Many values of one kind are a struct of arrays, one entry per row, so that they go
into and out of DuckDB, numpy and torch without a loop; the shape and dtype of each array stand beside its field.
Nothing here does I/O, and no other module of `storage` but `errors` is visible to the stages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
WeightArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Relation = Literal["duplicate", "cast", "quantized", "pruned", "lora", "adapter", "finetune", "pretrain", "merge"]
EvidenceSource = Literal["fingerprint", "exact"]

GGML_BITS: Mapping[str, int] = {
    "Q8_0": 8,
    "Q6_K": 6,
    **dict.fromkeys(("Q5_0", "Q5_1", "Q5_K"), 5),
    **dict.fromkeys(("Q4_0", "Q4_1", "Q4_K", "IQ4_NL", "IQ4_XS", "MXFP4"), 4),
    **dict.fromkeys(("Q3_K", "IQ3_S", "IQ3_XXS"), 3),
    **dict.fromkeys(("Q2_K", "IQ2_S", "IQ2_XS", "IQ2_XXS"), 2),
}
"""Quantised types of GGUF whose weights can be compared, with the bits of one code."""

FLOAT_DTYPE_BYTES: Mapping[str, int] = {
    "F64": 8,
    "F32": 4,
    **dict.fromkeys(("F16", "BF16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4"), 1),
    **dict.fromkeys(("FP8_E4M3", "FP8_E5M2", "INT8", "INT4", "NVFP4", *GGML_BITS), 1),
}
"""Stored formats whose weights can be compared, with the size of one weight in bytes, rounded up to whole ones.

Beside formats of safetensors there are codes with scales: FP8 is F8, NVFP4 and MXFP4 are F4 in groups of 16 and 32,
INT8 and INT4 integers; and the block types of GGUF.
"""

COPY_KINDS = ("none", "cast", "pruned", "quantized")
"""How a model was made from another without training, weaker kinds first."""

UNIT_ROUNDOFF: Mapping[str, float] = {
    "F64": 2.0**-24,  # decoded to float32 on reading, so float32's rounding is what remains
    "F32": 2.0**-24,
    "F16": 2.0**-11,
    "BF16": 2.0**-8,
    "F8_E4M3": 2.0**-4,
    "F8_E5M2": 2.0**-3,
    "F8_E4M3FNUZ": 2.0**-4,
    "F8_E5M2FNUZ": 2.0**-3,
    "F4": 2.0**-2,
    "FP8_E4M3": 2.0**-4.1,
    "FP8_E5M2": 2.0**-3.1,
    "INT8": 2.0**-6.1,
    "INT4": 2.0**-2.6,
    "NVFP4": 2.0**-2.9,
    **{name: 2.0 ** (0.9 - bits) for name, bits in GGML_BITS.items()},
    "MXFP4": 2.0**-2.5,
}
"""Largest relative rounding error of a stored number: half a unit in the last place of each format.

Of codes with scales: about that of the floating format whose rounding would change normally distributed weights as
much, and none of a format of safetensors, whose smallest numbers go with it while scales move those of codes.
"""


@dataclass(frozen=True, slots=True)
class DeclaredBase:
    """One parent that a model's card or tags claim; `repo_id` is the card's text and may name nothing that exists."""

    repo_id: str
    relation: str | None = None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One repository as a listing shows it: identity, revision, and what its owner says about it.

    Identity is `hub_id` (the Hub's `_id`, 24 hex digits): a rename keeps it, and a name can pass to another model.
    """

    hub_id: str
    repo_id: str
    revision: str
    created_at: datetime | None = None
    last_modified: datetime | None = None
    library: str | None = None
    pipeline_tag: str | None = None
    licence: str | None = None
    downloads: int = 0
    likes: int = 0
    gated: bool = False
    disabled: bool = False
    tags: tuple[str, ...] = ()
    declared: tuple[DeclaredBase, ...] = ()
    file_names: tuple[str, ...] = ()
    model_type: str | None = None
    model_class: str | None = None  # config.json's architectures[0], e.g. LlamaForCausalLM


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `begin:end` of a file of the model."""

    file: str
    begin: int
    end: int

    @property
    def length(self) -> int:
        """Bytes in the range."""
        return self.end - self.begin


class RowCoding(Protocol):
    """How the rows of a tensor are stored, where they are more than its numbers one after the other."""

    def ranges(self, start: int, stop: int) -> tuple[ByteRange, ...]:
        """What must be read for rows `start:stop`, start < stop."""
        ...

    def decode(self, start: int, stop: int, contents: Sequence[bytes]) -> WeightArray:
        """Rows `start:stop` as float32 (stop - start, cols) from the bytes of those ranges, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Where one tensor lies: a value apart from its bytes. `begin` and `end` are absolute byte offsets in `file`.

    Without a `coding` the bytes are the tensor's numbers in format `dtype`, row-major.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    begin: int
    end: int
    coding: RowCoding | None = None


@dataclass(frozen=True, slots=True)
class ComparableTensor:
    """A tensor that can be compared between models, seen as a matrix of `rows` x `cols` (convolutions: out x rest).

    `name` is canonical: wrappers' prefixes are gone, so that relatives agree on it. `in_key` tells whether the tensor
    takes part in the architecture key; the others are compared where all members of a cluster have them. `joined` says
    that these are the weights of others of the model's tensors, stored as one: read by name, compared as those.
    """

    name: str
    rows: int
    cols: int
    in_key: bool
    spec: TensorSpec
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """What makes models comparable tensor by tensor; `key` is the sha256 (hex) of its sorted (name, rows, cols)."""

    key: str
    tensors: tuple[ComparableTensor, ...]  # sorted by name, key tensors and others
    parameters: int  # elements of all tensors of the model, comparable or not
    dtype: str  # stored format of most of the key's weights
    batch_counters: tuple[TensorSpec, ...] = ()  # of batches, under names that relatives agree on
    gains: tuple[TensorSpec, ...] = ()  # gains and biases that are read, cut to what is read; names as above


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """Which rows of which tensors are sampled: the same for every model of an architecture.

    A pure function of (architecture key, weights budget, plan version). Block b holds rows
    `row_start[b] : row_start[b] + row_count[b]` of tensor `names[b]`, whole rows of `cols[b]` weights; a fingerprint is
    the blocks in this order, row-major.
    """

    architecture: str
    budget_weights: int
    version: int
    plan_id: str  # sha256 (hex, 16 digits) of all other fields
    names: tuple[str, ...]
    row_start: IndexArray = field(repr=False)  # (blocks,) int64
    row_count: IndexArray = field(repr=False)  # (blocks,) int64
    tensor_rows: IndexArray = field(repr=False)  # (blocks,) int64, rows of the whole tensor
    cols: IndexArray = field(repr=False)  # (blocks,) int64

    @property
    def weights(self) -> int:
        """Sampled weights per model."""
        return int((self.row_count * self.cols).sum())

    @property
    def offsets(self) -> IndexArray:
        """(blocks + 1,) int64: block b is `values[offsets[b]:offsets[b + 1]]` of a fingerprint."""
        return np.concatenate([[0], np.cumsum(self.row_count * self.cols)]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The sampled weights of one revision, with what its header told."""

    hub_id: str
    revision: str
    plan: SamplePlan
    values: WeightArray = field(repr=False)  # (plan.weights,) float32, decoded
    dtype: str  # stored format of most sampled weights
    parameters: int
    weights_sha256: str | None  # of the weight file when it is one LFS file, else None
    header_bytes: int
    sampled_bytes: int
    resolver_requests: int
    contents: str | None = None  # digest of its weight files, a UUID: equal ones are the same bytes; None: not told


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """What is stored of weights that were read, whoever's they are: where their sample lies and what it is of."""

    contents: str  # a UUID
    plan_id: str
    dtype: str
    parameters: int
    values_sha256: str
    weights_sha256: str | None
    header_bytes: int
    sampled_bytes: int
    file_name: str
    row_number: int
    layout_id: str
    is_adapter: bool


@dataclass(frozen=True, slots=True)
class CopiedModel:
    """A model whose weights are known: the Hub tells of its files what it told of another's. None of them was read.

    `ref` is the listing's, with what the configuration added.
    """

    ref: ModelRef
    weights: KnownWeights
    resolver_requests: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What an attempt to read one model cost, whether it was read or left out."""

    hub_id: str
    revision: str
    resolver_requests: int
    cdn_requests: int
    received_bytes: int  # bodies of all answers, repeated and useless ones included


@dataclass(frozen=True, slots=True)
class Skip:
    """A model that was left out: at which stage and why. `retry`: whether the same revision may succeed later."""

    hub_id: str
    repo_id: str
    revision: str
    stage: Literal["crawl", "index", "recover"]
    reason: str  # a short snake_case code, see docs/data-model.md
    detail: str  # one line for a person, control characters escaped
    retry: bool


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing, in the Hub's order, and where the next begins (None after the last)."""

    models: tuple[ModelRef, ...]
    skips: tuple[Skip, ...]  # rows that are no valid model description
    next_cursor: str | None


class TensorSource(Protocol):
    """The weights of one model, tensor by tensor, wherever they lie: a folder, a Hub by ranges, or memory."""

    @property
    def tensors(self) -> Mapping[str, ComparableTensor]:
        """Comparable tensors by canonical name, none joined."""
        ...

    def read(self, name: str, start: int, stop: int) -> WeightArray:
        """Rows `start:stop` of a tensor as float32 (stop - start, cols). Raises `ModelUnreadable`."""
        ...

    def batch_counts(self) -> Mapping[str, int]:
        """Batches that normalisation layers were trained on, by names that relatives agree on; often none.

        Raises `ModelUnreadable`.
        """
        ...

    def gains(self) -> Mapping[str, WeightArray]:
        """Some of the gains and biases, (values,) float32 each, by names that relatives agree on.

        Raises `ModelUnreadable`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pairs:
    """Unordered pairs of rows (models), left < right, sorted by (left, right), without repetition."""

    left: IndexArray  # (pairs,) int64
    right: IndexArray  # (pairs,) int64
    score: FloatArray  # (pairs,) float64: relatedness in standard deviations of the null, or 0 where not tested


@dataclass(frozen=True, slots=True)
class PairEvidence:
    """What the weights say about each pair of a cluster, over the layers that all its members share.

    One entry per pair. "Direction" is log L(left -> right) - log L(right -> left) in nats, unclipped.
    """

    left: IndexArray  # (pairs,) int64, member number
    right: IndexArray  # (pairs,) int64
    l_ft: FloatArray  # (pairs,) Eq. 1: max over layers of max |u - v| after min-max scaling of each layer
    l_lora: FloatArray  # (pairs,) Eq. 2: max over layers of rank(u - v), above the stored dtype's rounding noise
    l_lora_sum: FloatArray  # (pairs,) sum over layers of the same
    l1: FloatArray  # (pairs,) sum of |u - v|
    l2_squared: FloatArray  # (pairs,) sum of (u - v)^2
    norm_squared: FloatArray  # (pairs,) sum of u^2 and v^2, halved: the scale of l2_squared
    changed_share: FloatArray  # (pairs,) share of entries where u != v
    low_rank: BoolArray  # (pairs,) the changed layers differ by one small rank, as adapters leave it
    step_cost: FloatArray  # (pairs,) negative log-likelihood of one training step, symmetric; layers of the key
    direction: FloatArray  # (pairs,) slopes of rows plus slopes of columns, nats; layers of the key
    decay: FloatArray  # (pairs,) log odds that left is the parent, nats: right is in part left shrunk; 0 where silent
    heads: FloatArray  # (pairs,) the same by heads and vocabularies
    copy: IndexArray  # (pairs,) int64: 1 right is a derived copy of left, -1 left of right, 0 neither; certain
    copy_kind: IndexArray  # (pairs,) int64, index into COPY_KINDS: the strongest of any layer
    copy_bits: FloatArray  # (pairs,) bits per weight of a cast or quantised copy, else NaN
    copy_group: FloatArray  # (pairs,) weights per scale (0 row, -1 tensor, -2 column), or the M of N:M zeros, else NaN
    copy_sparsity: FloatArray  # (pairs,) share of zeros in the layers pruned, else NaN
    copy_agreement: FloatArray  # (pairs,) share of the weights of such layers that the copying explains, else NaN
    identical: BoolArray  # (pairs,) all compared values equal


@dataclass(frozen=True, slots=True)
class WeightMoments:
    """Moments of each member's layers (all float64, shape (members, layers)); kurtosis is Eq. 3 of the paper."""

    layers: tuple[str, ...]
    count: FloatArray
    mean: FloatArray
    variance: FloatArray
    skewness: FloatArray
    kurtosis: FloatArray  # plain (normal = 3), not excess
    entropy: FloatArray  # nats, of a histogram of 256 equal bins between min and max
    minimum: FloatArray
    maximum: FloatArray
    zeros: FloatArray  # count of exact zeros


@dataclass(frozen=True, slots=True)
class LayerDistances:
    """How far the pairs lie apart in every layer, float32 (pairs, layers) each; a difference is right - left."""

    square: BoolArray  # (layers,) whether the layer has as many rows as columns
    largest: WeightArray  # entry of the difference, at least 0
    smallest: WeightArray  # entry of the difference, at most 0
    mean_square: WeightArray  # of the difference


@dataclass(frozen=True, slots=True)
class LayerEvidence:
    """What pairs say layer by layer: for resampling, and for telling which layers a step touched.

    Neighbouring layers of the key are summed into at most 32 parts, so that large clusters stay small.
    """

    names: tuple[str, ...]  # all compared layers
    sides: tuple[int, ...]  # (layers,) the smaller one of each, which is the full rank
    rank: npt.NDArray[np.int16]  # (pairs, layers) int16: rank of the difference above rounding noise, at most 32,767
    touched: BoolArray  # (pairs, layers) which layers changed; between formats, beyond rounding
    step_cost: WeightArray  # (pairs, parts) float32, layers of the key
    direction: WeightArray  # (pairs, parts) float32, layers of the key
    distances: LayerDistances | None = None  # where asked for


@dataclass(frozen=True, slots=True)
class ClusterEvidence:
    """All that one pass over the bytes of a cluster yields."""

    members: int
    pairs: PairEvidence
    moments: WeightMoments
    bytes_read: int  # decoded weights x stored size, each counted once, and again where it was read for a larger rank
    layers: LayerEvidence | None = None
    sample: tuple[WeightArray, ...] = ()  # blocks (members, rows, cols) float32: the same rows of every member
    tables: tuple[WeightArray, ...] = ()  # the same of layers outside the key
    roundoff: tuple[float, ...] = ()  # unit roundoff of each member's stored format, where there is a sample
    sample_names: tuple[str, ...] = ()  # the layer of each block of the sample
    batches: IndexArray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))  # `recovery.batch_counts`
    gains: tuple[WeightArray, ...] = ()  # (members, values) float32 of each gain or bias: `recovery.gains`
    gains_changed: FloatArray = field(default_factory=lambda: np.zeros(0))  # (pairs,) share: `recovery.tuned_gains`
    heads_changed: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))  # (pairs,): the same module


@dataclass(frozen=True, slots=True)
class MergeParents:
    """The parents of merges beside the heaviest, which `ModelGraph.parent` holds: an entry an edge, heaviest first."""

    child: IndexArray  # (edges,) int64, node
    parent: IndexArray  # (edges,) int64, node
    pair: IndexArray  # (edges,) int64, row of PairEvidence behind the edge, -1 where an end is a ghost
    weight: FloatArray  # (edges,) float64 above 0: share of the child that this parent gave
    confidence: FloatArray  # (edges,) float64 in [0, 1]: posterior of the edge


@dataclass(frozen=True, slots=True)
class ModelGraph:
    """The most probable history of one cluster; without merges and missing models it is a tree of the members.

    Nodes 0 .. members - 1 are the cluster's members, further ones are ghosts: models that the evidence asks for and the
    index does not hold. Every ghost has a child. Entry i speaks of node i and of the edge from its heaviest parent.
    """

    members: int
    root: int
    parent: IndexArray  # (nodes,) int64 heaviest parent, -1 at the root
    pair: IndexArray  # (nodes,) int64 row of PairEvidence behind the edge, -1 at the root and where an end is a ghost
    relation: tuple[Relation | None, ...]  # (nodes,) None at the root
    weight: FloatArray  # (nodes,) float64 above 0: share of the child that this parent gave; 1, less at merges
    confidence: FloatArray  # (nodes,) float64 in [0, 1]: posterior of link and direction (at the root: of being it)
    support: FloatArray  # (nodes,) float64 share of resamplings of the layers with this edge, NaN where not resampled
    details: tuple[Mapping[str, object], ...]  # (nodes,) the numbers that say so, JSON values: {"rank": 4}, {"bits": 8}
    root_posterior: FloatArray  # (nodes,) float64, sums to 1
    alternative: IndexArray  # (nodes,) int64 second-best parent, -1 where none
    alternative_odds: FloatArray  # (nodes,) float64 odds of the second best against the chosen, NaN where none
    further: MergeParents

    @property
    def nodes(self) -> int:
        """Members and ghosts together."""
        return len(self.parent)
