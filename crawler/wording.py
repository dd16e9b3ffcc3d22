"""Foreign text in our messages: escaped and clipped, so that a name cannot drive a terminal or fill a log."""

CLIP_CHARS = 120


def quoted(text: object, limit: int = CLIP_CHARS) -> str:
    """Any foreign value as one printable ASCII line in quotes, at most about `limit` characters of it."""
    plain = str(text)[: limit + 1]
    shown = ascii(plain[:limit])
    return f"{shown}..." if len(plain) > limit else shown


def is_printable(text: str, limit: int) -> bool:
    """Whether foreign text may be stored and shown as it is: short, and without control or direction characters."""
    return 0 < len(text) <= limit and text.isprintable()
