"""Names that may only lead to public addresses, whatever the one who answers for them says today."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from crawler.addresses import is_private


class PublicResolver(AbstractResolver):
    """Names to addresses for a public Hub: a name that leads to a private address leads nowhere."""

    def __init__(self) -> None:
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of a name. Raises `OSError` when it has none."""
        found = [
            result for result in await self._resolver.resolve(host, port, family) if not is_private(result["host"])
        ]
        if not found:
            raise OSError(None, "the name leads to no public address")
        return found

    async def close(self) -> None:
        """Ends what resolves names."""
        await self._resolver.close()
