"""Files that the user names for us to read: configuration and truths."""

from pathlib import Path

from storage.errors import UsageError


def read_named(path: Path, *, limit_bytes: int) -> str:
    """The whole text of a file, which may be a pipe, without a byte order mark.

    Raises `UsageError` when it cannot be read, is no UTF-8, or has more than `limit_bytes`, as a device has that never
    ends.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise UsageError(f"{path} has more than {limit_bytes:,} bytes, and is not read")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read, it is no text in UTF-8: {error}") from error
