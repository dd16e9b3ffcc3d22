"""What a benchmark of time, memory or requests has measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, in `unit`, and what was to be reached."""

    name: str
    value: float
    unit: str
    target: str = ""
    note: str = ""
