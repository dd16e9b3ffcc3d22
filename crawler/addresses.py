"""Which hosts are this machine's or its network's own: no business of a public Hub."""

import ipaddress

_OWN_NAMES = ("localhost", "local", "internal", "lan", "home.arpa")


def is_loopback(host: str | None) -> bool:
    """Whether a host of a URL is this machine by its name or its number."""
    number = _number(host or "")
    return number.is_loopback if number is not None else _is_named(host or "", ("localhost",))


def is_private(host: str | None) -> bool:
    """Whether a host is a number that is not of the public internet, or a name that only private networks resolve."""
    number = _number(host or "")
    if number is None:
        return not host or "." not in host.rstrip(".") or _is_named(host, _OWN_NAMES)
    return not number.is_global or number.is_multicast


def _is_named(host: str, names: tuple[str, ...]) -> bool:
    last = f".{host.rstrip('.').lower()}"
    return any(last.endswith(f".{name}") for name in names)


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address a host is, an IPv4 address inside an IPv6 one as itself; None for names."""
    try:
        number = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    inside = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
    return inside or number
