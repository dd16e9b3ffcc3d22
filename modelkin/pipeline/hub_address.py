"""Which Hub an index mirrors, and reaching it: a URL as it is, a folder through a local Hub on loopback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from storage.catalog import Catalog
from storage.errors import UsageError

PUBLIC_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A Hub: an http(s) URL without trailing slash, or the absolute path of a folder laid out like one."""

    location: str

    @property
    def is_folder(self) -> bool:
        """Whether the Hub is a folder of this machine."""
        return not self.location.startswith(("http://", "https://"))


def parse_hub(hub: str) -> HubAddress:
    """A Hub as a user names it. Raises `UsageError` when it is neither a URL nor an existing folder.

    No name at all is no folder either, though it would be the present one: it is what an unset variable leaves, and
    a folder takes the place of the one that an index mirrored.
    """
    if hub.startswith(("http://", "https://")):
        return HubAddress(_address(hub))
    folder = Path(hub).expanduser()
    if not hub or not folder.is_dir():
        raise UsageError(f"{hub} is neither a URL (https://...) nor a folder; give a folder holding <org>/<name>/...")
    return HubAddress(str(folder.resolve()))


def _address(url: str) -> str:
    """A URL without a trailing slash. One that holds a password is refused and not shown: it would be stored."""
    try:
        parts = urlsplit(url)
        host, secret = parts.hostname, "@" in parts.netloc
    except ValueError:
        host, secret = None, False
    if secret:
        raise UsageError("an address holds no name or password: log in with `hf auth login`, or set HF_TOKEN")
    if not host:
        raise UsageError(f"{url} is no address of a Hub; give one such as {PUBLIC_HUB}")
    return url.rstrip("/")


def choose_hub(hub: str | None, catalog: Catalog | None) -> HubAddress:
    """The Hub to crawl: the one given, else the one the index mirrors, else `HF_ENDPOINT` or the public Hub.

    `catalog` None: there is no index yet. An index mirrors one Hub: what a walk does not see is taken to be gone. A
    folder may have moved, so another folder is accepted; anything else raises `UsageError`, before a model is lost.
    """
    recorded = catalog.setting("hub") if catalog is not None else None
    if hub is None:
        chosen = HubAddress(recorded) if recorded else parse_hub(os.environ.get("HF_ENDPOINT") or PUBLIC_HUB)
    else:
        chosen = parse_hub(hub)
    if recorded is not None and recorded != chosen.location:
        moved = chosen.is_folder and HubAddress(recorded).is_folder
        if not moved:
            raise UsageError(f"this index mirrors {recorded}; use another --index for {chosen.location}")
    return chosen


@contextmanager
def reach(address: HubAddress) -> Iterator[tuple[str, str | None]]:
    """Yields (endpoint, token) for the block; a folder is served on loopback meanwhile and gets no token."""
    if address.is_folder:
        from crawler.local_hub import LocalHub  # noqa: PLC0415 - a server is loaded only where one is started

        with LocalHub(Path(address.location)) as hub:
            yield hub.endpoint, None
    else:
        from crawler.hub import find_token  # noqa: PLC0415 - as above

        yield address.location, find_token()
