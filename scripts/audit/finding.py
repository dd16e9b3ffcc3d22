"""What a check has to say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome. `lines` are for a person; where `right` is false the audit has failed.

    A check that could not be made is not right either: silence about vulnerabilities would be read as their absence.
    """

    title: str
    lines: tuple[str, ...]
    right: bool
