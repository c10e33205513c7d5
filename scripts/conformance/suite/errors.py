"""ICMP errors, alike over both families, and sums of what is in a datagram."""

from dataclasses import dataclass

from scapy.layers.inet import in4_chksum, IP
from scapy.layers.inet6 import in6_chksum, IPv6
from scapy.packet import Raw
from scapy.utils import checksum

from .setting import IPV4, IPV6

ICMP, ICMPV6 = 1, 58
HEADER = 8

# Type and code, as each family has them.
PORT_UNREACHABLE = {IPV4: (3, 3), IPV6: (1, 4)}
PROTOCOL_UNREACHABLE = {IPV4: (3, 2), IPV6: (4, 1)}
REASSEMBLY_TIME_EXCEEDED = {IPV4: (11, 1), IPV6: (3, 1)}
PROBLEM = {IPV4: (4, 0), IPV6: (4, 0)}
UNKNOWN_OPTION = {IPV6: (4, 2)}
INCOMPLETE_HEADERS = {IPV6: (4, 3)}


@dataclass(frozen=True)
class IcmpError:
    """An ICMP error that the target has sent."""

    packet: object
    kind: int
    code: int
    rest: bytes  # the 4 bytes behind the checksum: a pointer, an MTU, or unused
    quoted: bytes

    @property
    def pointer(self):
        """Which octet is wrong, if this is a parameter problem."""
        return self.rest[0] if self.packet.version == 4 else int.from_bytes(self.rest, "big")

    def is_about(self, packet):
        """Whether it quotes the beginning of a packet, unchanged: the header and 8 octets at least (RFC 792)."""
        packet = bytes(packet)
        least = (packet[0] & 15) * 4 + 8 if packet[0] >> 4 == 4 else 48
        return len(self.quoted) >= min(least, len(packet)) and packet.startswith(self.quoted[:len(packet)])


def error_in(packet):
    """The ICMP error that a packet is; `None` if it is none."""
    if isinstance(packet, Raw):
        return None
    is_v4 = packet.version == 4
    if (packet.proto if is_v4 else packet.nh) != (ICMP if is_v4 else ICMPV6) or (is_v4 and packet.frag):
        return None
    data = transport(packet)
    if len(data) < HEADER or (data[0] not in (3, 4, 5, 11, 12) if is_v4 else data[0] >= 128):
        return None
    kind = data[0]
    # What IPv4 calls 12, IPv6 calls 4: a parameter problem.
    return IcmpError(packet, 4 if is_v4 and kind == 12 else kind, data[1], data[4:8], data[HEADER:])


def transport(packet):
    """What an IP header of the target's is followed by, without trailing bytes."""
    data = packet.original
    if packet.version == 4:
        return data[packet.ihl * 4:packet.len]
    return data[40:40 + packet.plen]


def is_summed(packet):
    """Whether the checksum of a packet's ICMP, UDP or TCP is right (0, if UDP has none, is not)."""
    data = transport(packet)
    if packet.version == 6:
        return in6_chksum(packet.nh, IPv6(src=packet.src, dst=packet.dst, nh=packet.nh), data) in (0, 0xFFFF)
    if packet.proto == ICMP:
        return checksum(data) == 0
    return in4_chksum(packet.proto, IP(src=packet.src, dst=packet.dst, proto=packet.proto), data) in (0, 0xFFFF)
