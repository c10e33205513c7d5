"""Datagrams in parts: cut by the tester as it likes, and put together where the target has cut them."""

import zlib

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from .errors import transport
from .wire import dissect

FRAGMENT = 44


def cut(packet, *ends, **header):
    """The parts of a datagram, cut at these octets of what follows its IP header."""
    length = len(payload(packet))
    bounds = (0, *ends, length)
    return [part(packet, start, end, **header) for start, end in zip(bounds, bounds[1:])]


def cut_every(packet, size, **header):
    """The parts of a datagram, so many octets each."""
    return cut(packet, *range(size, len(payload(packet)), size), **header)


def part(packet, start, end, more=None, data=None, id=None, **header):
    """The part of a datagram from one octet of its payload to another.

    `more` is the flag that more follows, if it is not as it should be; `data` what stands there in place of the
    datagram's own. `id` is the identification; `header` are other fields of the IP header.
    """
    whole = payload(packet)
    data = whole[start:end] if data is None else data
    more = end < len(whole) if more is None else more
    ip = packet.firstlayer()
    if ip.version == 4:
        fields = dict(src=ip.src, dst=ip.dst, id=ip.id if id is None else id, ttl=ip.ttl, tos=ip.tos,
                      proto=IP(bytes(packet)).proto)
        return IP(**{**fields, **header}, flags="MF" if more else 0, frag=start // 8) / Raw(data)
    # Whatever distinguishes the datagrams distinguishes their parts.
    id = zlib.crc32(bytes(packet)) if id is None else id
    fields = dict(src=ip.src, dst=ip.dst, hlim=ip.hlim, tc=ip.tc)
    extension = IPv6ExtHdrFragment(nh=header.pop("nh", IPv6(bytes(packet)).nh), offset=start // 8, m=int(more), id=id)
    for name in ("res1", "res2"):
        setattr(extension, name, header.pop(name, 0))
    return IPv6(**{**fields, **header}, nh=FRAGMENT) / extension / Raw(data)


def payload(packet):
    """What follows the IP header, as it goes out."""
    data = bytes(packet)
    return data[(data[0] & 15) * 4 if data[0] >> 4 == 4 else 40:]


class Parts:
    """Parts of datagrams that the target has sent."""

    def __init__(self):
        self.datagrams = {}

    def add(self, packet):
        """Takes a part; gives the datagram if that was the last that it lacked, else `None`."""
        name, start, data, more = read(packet)
        parts = self.datagrams.setdefault(name, {})
        assert not more or len(data) % 8 == 0, "a part that is not the last is no multiple of 8 octets"
        parts[start] = (data, more)
        whole = b""
        while len(whole) in parts:
            data, more = parts[len(whole)]
            whole += data
            if not more:
                del self.datagrams[name]
                return joined(packet, whole)
            if not data:
                break
        return None


def is_part(packet):
    """Whether a packet is a part of a datagram and not all of it."""
    if isinstance(packet, IP):
        return bool(packet.frag or packet.flags.MF)
    return isinstance(packet, IPv6) and packet.nh == FRAGMENT


def read(packet):
    data = transport(packet)
    if packet.version == 4:
        return (packet.src, packet.dst, packet.proto, packet.id), packet.frag * 8, data, bool(packet.flags.MF)
    word = int.from_bytes(data[2:4], "big")
    return (packet.src, packet.dst, data[4:8]), word & ~7, data[8:], bool(word & 1)


def joined(packet, data):
    if packet.version == 4:
        header = IP(src=packet.src, dst=packet.dst, id=packet.id, ttl=packet.ttl, tos=packet.tos, proto=packet.proto)
    else:
        header = IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim, tc=packet.tc, nh=transport(packet)[0])
    return dissect(bytes(header / Raw(data)))
