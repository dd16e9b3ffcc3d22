"""Names of repositories, drawn by lot: nothing in a name tells whose kin it is."""

import numpy as np

PER_FAMILY = 32
"""Names kept for each family, so that families can be planned one by one."""

_ORGS = (
    "alder-labs", "basaltic", "copperline", "dune-research", "emberly", "fjord-ai", "glasswing", "hollowoak",
    "inkwell-nlp", "junction9", "kitefield", "lowtide", "mosaicbay", "nightjar-ml", "opaline", "quarryside",
    "redfern", "saltworks", "thistle", "umbra-labs",
)  # fmt: skip
_FIRST = (
    "amber", "brisk", "calm", "dapple", "eager", "faint", "gentle", "hazel", "ivory", "jolly", "keen", "lucid",
    "mellow", "noble", "ochre", "plain", "quiet", "russet", "silver", "tawny",
)  # fmt: skip
_SECOND = (
    "atlas", "beacon", "comet", "delta", "echo", "fable", "grove", "harbor", "iris", "juniper", "kelp", "lantern",
    "meadow", "nova", "orchid", "prairie", "quill", "ripple", "summit", "thunder",
)  # fmt: skip
_LAST = ("", "-one", "-mini", "-next", "-x", "-mk", "-air", "-core")
MOST_FAMILIES = len(_FIRST) * len(_SECOND) * len(_LAST) // PER_FAMILY


def family_names(seed: int, number: int) -> list[str]:
    """The `PER_FAMILY` names, org/name, of one family; no two families of a seed share one.

    Raises `ValueError` for a number that is not below `MOST_FAMILIES`.
    """
    if not 0 <= number < MOST_FAMILIES:
        raise ValueError(f"family {number} has no names left: at most {MOST_FAMILIES} families")
    generator = np.random.default_rng([seed, 7])
    order = generator.permutation(MOST_FAMILIES * PER_FAMILY).reshape(MOST_FAMILIES, PER_FAMILY)
    orgs = generator.integers(len(_ORGS), size=order.shape)
    return [f"{_ORGS[org]}/{_name(place)}" for org, place in zip(orgs[number], order[number].tolist(), strict=True)]


def _name(place: int) -> str:
    first, rest = divmod(place, len(_SECOND) * len(_LAST))
    second, last = divmod(rest, len(_LAST))
    return f"{_FIRST[first]}-{_SECOND[second]}{_LAST[last]}"
