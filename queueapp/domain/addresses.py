"""Which addresses a callback may go to: those of the public internet, and no other."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

_SPECIAL: Networks = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network; on Linux 0.0.0.0 is this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # between a provider and its customers, and in clouds
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, where clouds keep their metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # protocols: Teredo, which carries an IPv4 address, benchmarks, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4, which carries an IPv4 address
        "3fff::/20",
    )
)
"""From the registries of special-purpose addresses. `ipaddress.is_global` knows fewer, and others with each
version of Python."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that is given out of IPv6. Outside are loopback, link-local, unique-local and multicast addresses, and those
that carry an IPv4 address: mapped (::ffff:0:0/96) and translated ones (64:ff9b::/96)."""


def address_of(text: str) -> Address | None:
    """The address in a text, without the zone of a link-local one; None for a name."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_special(address: Address, allowed: Networks = ()) -> bool:
    """Whether no callback may go there: it is not of the public internet, nor in one of the allowed networks."""
    if any(address in network for network in allowed):
        return False
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return True
    return any(address in network for network in _SPECIAL)


@lru_cache
def read_networks(texts: str) -> Networks:
    """Networks such as `10.0.0.0/8`, several separated by commas or spaces. ValueError names one that is none."""
    return tuple(ip_network(text) for text in texts.replace(",", " ").split())
