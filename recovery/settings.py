"""The settings of the recovery, importable without torch."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["kin", "mother"]
PaperDistance = Literal["l_ft", "l_lora", "l_ft_code", "l_lora_code", "rms"]
Stage = Literal["general", "specialised"]


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """How evidence is gathered. Raises `ValueError` on values that cannot work."""

    memory_bytes: int = 2 * 2**30
    """What one layer of all members, the work on its pairs and the sample may take together.

    In configurations `[exact] memory_bytes`, as `device` is `[exact] device`.
    """
    spectrum_rows: int = 144
    """Rows (or columns, where these are fewer) of a layer that its spectrum is taken from, and of each four times as
    many weights. Of 144 rows ranks up to 128 show at once, which few adapters exceed."""
    read_weights: int = 2**18
    """Weights that one read of a source asks for, rounded to whole rows: what it passes on the way stays in the cache,
    and in memory that the process has touched before. A Hub is asked for more at once."""
    sample_weights: int = 2**20
    """Weights per member that stay in memory after the pass, for questions about three and more models."""
    layer_distances: bool = False
    """Keep every pair's extremes and mean square of every layer, which the distances of the authors' code need."""
    device: str = "cpu"
    """Where torch computes, as torch names it (`recovery.devices`)."""

    def __post_init__(self) -> None:
        if self.memory_bytes < 1:
            raise ValueError(f"memory_bytes must be positive, not {self.memory_bytes}")
        for name in ("spectrum_rows", "read_weights", "sample_weights"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """Which method makes the tree, and what it needs to be told. Raises `ValueError` on values that cannot work."""

    method: Method = "kin"
    """`kin`: the most likely tree of training steps; `mother`: the paper's (arXiv 2405.18432), for comparison."""
    clip_nats: float = 5.0
    """kin: no single edge may say more about its direction: odds of 150 to 1, however well the model of a step fits."""
    kurtosis_nats: float = 0.0
    """kin: what the change of kurtosis, as `stage` expects it, adds to a direction (`recovery.voters`)."""
    effective_rank_nats: float = 0.0
    """kin: what a fall of the weights' effective rank adds to a direction (`recovery.voters`)."""
    distance: PaperDistance = "l_ft"
    """mother: l_ft for full fine-tuning, l_lora for LoRA, as the paper has them; l_ft_code, l_lora_code and rms as the
    authors' code has them (`recovery.mother`)."""
    stage: Stage = "specialised"
    """How all models but the root were trained: pre-trained further, or fine-tuned to a task. For mother, and for
    `kurtosis_nats` of kin."""
    kurtosis_weight: float = 0.3
    """mother: the paper's c, what a direction against the kurtosis costs in mean distances."""

    @property
    def needs_layer_distances(self) -> bool:
        """Whether the evidence must keep `EvidenceSettings.layer_distances`."""
        return self.method == "mother" and self.distance in {"l_ft_code", "l_lora_code", "rms"}

    def __post_init__(self) -> None:
        if not 0 < self.clip_nats < float("inf"):
            raise ValueError(f"clip_nats must be positive and finite, not {self.clip_nats}")
        for name in ("kurtosis_weight", "kurtosis_nats", "effective_rank_nats"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and not negative, not {getattr(self, name)}")
