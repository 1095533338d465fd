"""The test whether an address belongs to the public internet.

Knows the ranges that are reserved for other uses. Resolves no names and opens no connection.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Written out, since Python's releases differ in the addresses that `ipaddress` calls global.
# Source: IANA's registries of special-purpose addresses.
NOT_PUBLIC_4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carriers' NAT, and clouds' metadata
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, and clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
GLOBAL_6 = ip_network("2000::/3")
NOT_PUBLIC_6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)
MAPPED = ip_network("::ffff:0:0/96")
NAT64 = ip_network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address of the public internet.

    An IPv4 address inside an IPv6 address, mapped or for NAT64, counts as the IPv4 address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if "%" in text:
            return False
        if address not in MAPPED and address not in NAT64:
            return address in GLOBAL_6 and not any(address in network for network in NOT_PUBLIC_6)
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return not any(address in network for network in NOT_PUBLIC_4)
