"""How this machine gathers evidence: the configuration's device and memory, held against what there is."""

from dataclasses import replace

from modelkin.config import Config
from recovery.devices import chosen_device, default_memory_bytes, devices_here
from recovery.settings import EvidenceSettings


def evidence_settings(config: Config) -> EvidenceSettings:
    """The settings of a pass on this machine. Raises `UsageError` for a device that is not there."""
    exact = config.exact
    device = chosen_device(exact.device, devices_here())
    memory_bytes = default_memory_bytes(device) if exact.memory_bytes is None else exact.memory_bytes
    return replace(config.evidence, device=device, memory_bytes=memory_bytes)
