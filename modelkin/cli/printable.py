"""Text of foreign origin made harmless for a terminal."""


def plain(text: str) -> str:
    """The text with every character escaped that is not printable.

    That covers control characters, line separators, lone surrogates, and those that change the direction of writing.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def one_line(text: str) -> str:
    """The text as one harmless line."""
    return plain(" ".join(text.split()))
