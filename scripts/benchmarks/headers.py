"""Our verdict on hostile safetensors files beside that of the `safetensors` library.

    python -m scripts.benchmarks.headers [--inputs N] [--seed S]

Every input goes to both. Where both accept, names, formats, shapes and bytes must be the same; where only ours refuses,
the cause must be one of those written in docs/weight-files.md, and be there in the input; the other way round is a
disagreement, and any exception but a refusal a crash.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping

from safetensors import SafetensorError, deserialize

from crawler.safetensors_header import LENGTH_BYTES, MAX_HEADER_BYTES, MAX_INTEGER, parse_header
from scripts.benchmarks.hostile_headers import KINDS
from storage.errors import HeaderRejected

Tensors = list[tuple[str, str, tuple[int, ...], bytes]]

BOTH_ACCEPT, BOTH_REFUSE, DISAGREE, CRASH = "accepted by both", "refused by both", "DISAGREEMENT", "CRASH"


def _pairs(data: bytes) -> list[tuple[str, object]]:
    """The header's keys and values, those that stand twice included; an object is a list of pairs in a tuple."""
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    found = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + length], object_pairs_hook=lambda pairs: ("object", pairs))
    return list(found[1])


def _all_pairs(value: object) -> list[list[tuple[str, object]]]:
    """The pairs of every object inside a value."""
    if isinstance(value, list):
        return [pairs for item in value for pairs in _all_pairs(item)]
    if not isinstance(value, tuple):
        return []
    return [value[1], *[pairs for _, item in value[1] for pairs in _all_pairs(item)]]


def _repeats(data: bytes) -> bool:
    objects = _all_pairs(("object", _pairs(data)))
    return any(len({key for key, _ in pairs}) < len(pairs) for pairs in objects)


def _numbers(value: object) -> list[int]:
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, tuple):
        return [number for _, item in value[1] for number in _numbers(item)]
    return [value] if type(value) is int else []


def _tensors_of(data: bytes) -> list[object]:
    return [value for name, value in _pairs(data) if name != "__metadata__"]


def _is_large(data: bytes) -> bool:
    return int.from_bytes(data[:LENGTH_BYTES], "little") > MAX_HEADER_BYTES


def _has_dtype_object(data: bytes) -> bool:
    tensors = [value[1] for value in _tensors_of(data) if isinstance(value, tuple)]
    return any(key == "dtype" and isinstance(value, tuple) for pairs in tensors for key, value in pairs)


STRICTER: Mapping[str, Callable[[bytes], bool]] = {
    "header_duplicate_key": _repeats,
    "header_too_large": _is_large,
    "header_integer_too_large": lambda data: max(_numbers(_tensors_of(data))) > MAX_INTEGER,
    "header_bad_tensor": lambda data: any(isinstance(value, list) for value in _tensors_of(data)),
    "header_unknown_dtype": _has_dtype_object,
}
"""Where ours refuses alone: the reason, and whether an input has what the reason is for."""


def ours(data: bytes) -> Tensors:
    """What our parser finds. Raises `HeaderRejected`."""
    specs = parse_header(data, file="f", file_size=len(data))
    return sorted((spec.name, spec.dtype, spec.shape, data[spec.begin : spec.end]) for spec in specs)


def theirs(data: bytes) -> Tensors | None:
    """What the library finds, None where it refuses."""
    try:
        found = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError:
        return None
    return sorted((name, told["dtype"], tuple(told["shape"]), bytes(told["data"])) for name, told in found)


def verdict(data: bytes) -> str:
    """How the two judge one input."""
    library = theirs(data)
    try:
        found = ours(data)
    except HeaderRejected as error:
        if library is None:
            return BOTH_REFUSE
        is_written = error.reason in STRICTER and STRICTER[error.reason](data)
        return f"only ours: {error.reason}" if is_written else DISAGREE
    except Exception:  # noqa: BLE001 - that is what is looked for
        return CRASH
    return BOTH_ACCEPT if found == library else DISAGREE


def judge(inputs: int, seed: int) -> tuple[Mapping[str, Counter[str]], float]:
    """Verdicts by kind of input, the kinds in turn, and the seconds that the slowest input took both."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    rng, slowest_s = random.Random(seed), 0.0  # noqa: S311 - a seeded series, no secret
    for number in range(inputs):
        kind = list(KINDS)[number % len(KINDS)]
        data = KINDS[kind](rng)
        began = time.perf_counter()
        counts[kind][verdict(data)] += 1
        slowest_s = max(slowest_s, time.perf_counter() - began)
    return counts, slowest_s


def table(counts: Mapping[str, Counter[str]]) -> list[str]:
    """A row for each kind of input, and their sum."""
    total: Counter[str] = sum(counts.values(), Counter())
    shown = [BOTH_ACCEPT, BOTH_REFUSE, *sorted(f"only ours: {reason}" for reason in STRICTER), DISAGREE, CRASH]
    lines = [f"{'':20}" + "".join(f"{name.removeprefix('only ours: '):>26}" for name in shown)]
    for kind, found in [*counts.items(), ("all", total)]:
        lines.append(f"{kind:20}" + "".join(f"{found[name]:26}" for name in shown))
    return lines


def main() -> int:
    """Prints the table; 1 where the two disagree outside the written list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts, slowest_s = judge(arguments.inputs, arguments.seed)
    print("\n".join(table(counts)))
    print(f"{arguments.inputs} inputs of seed {arguments.seed}, the slowest {slowest_s * 1000:.0f} ms")
    return int(any(found[DISAGREE] or found[CRASH] for found in counts.values()))


if __name__ == "__main__":
    raise SystemExit(main())
