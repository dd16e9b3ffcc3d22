"""The Range header, RFC 9110 section 14, as the Hub's servers answer it: one range, or the whole file."""

import re

_ONE_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class Unsatisfiable(Exception):
    """The range begins after the end of the file: 416."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Half-open `(begin, end)` of the wanted bytes, or None for the whole file.

    An end past the file is clipped. What is no single well-formed range (several ranges, other units, a last byte
    before the first) is ignored, as RFC 9110 allows. Raises `Unsatisfiable`.
    """
    match = _ONE_RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < begin:
            return None
    if begin >= size:
        raise Unsatisfiable
    return begin, end
