"""IP in miniature (RFC 791, RFC 1122 section 3.2.1): what is let in, what is put together, what goes out."""

import ipaddress
import itertools
import random
import time

from scapy.layers.inet import IP
from scapy.packet import Raw
from scapy.utils import checksum

from broken import faults
from suite.setting import MTU, NETWORK, TARGET_ADDRESS

ADDRESS, NETWORK = TARGET_ADDRESS["ipv4"], NETWORK["ipv4"]
HEADER = 20
LARGEST = 65535
REASSEMBLY = 60.0  # seconds: RFC 1122 section 3.3.2
PARTS = 64  # datagrams that may be in pieces at a time


class Datagram:
    """A datagram that was let in: its header as scapy has it, what it carries, and the bytes to quote in an error."""

    def __init__(self, header, header_bytes, payload):
        self.header, self.header_bytes, self.payload = header, header_bytes, payload
        self.src, self.dst, self.proto = header.src, header.dst, header.proto


class Ip:
    """The layer: `write` puts bytes on the wire, `above` says by protocol numbers who takes what comes."""

    def __init__(self, write):
        self.write = write
        self.above = {}
        self.unknown = lambda datagram: None
        self.expired = lambda datagram: None
        self.partial = {}
        self.ids = itertools.count(random.randrange(1 << 16))

    def receive(self, data):
        datagram = valid(data)
        if datagram is not None and (datagram.header.flags.MF or datagram.header.frag):
            datagram = self.reassemble(datagram)
        if datagram is not None:
            self.above.get(datagram.proto, self.unknown)(datagram)

    def reassemble(self, fragment):
        """The whole datagram, if this was the last piece of it to come."""
        header = fragment.header
        start, end = header.frag * 8, header.frag * 8 + len(fragment.payload)
        ragged = header.flags.MF and len(fragment.payload) % 8 != 0
        if ragged or end > LARGEST - HEADER or not fragment.payload:
            return None
        key = (header.src, header.dst, header.proto, header.id)
        if faults.on("fragments of two hosts are mixed"):
            key = key[1:]
        if key not in self.partial and len(self.partial) >= PARTS:
            del self.partial[next(iter(self.partial))]
        pieces = self.partial.setdefault(key, Pieces())
        if faults.on("fragments in order of arrival"):
            start = len(pieces.data)
        pieces.add(fragment, start)
        if not pieces.are_all():
            return None
        del self.partial[key]
        return pieces.whole()

    def tick(self, now):
        """Gives up what has been in pieces for too long."""
        for key, pieces in list(self.partial.items()):
            if now >= pieces.until:
                del self.partial[key]
                if pieces.first is not None:
                    self.expired(pieces.first)

    def deadline(self):
        return min((pieces.until for pieces in self.partial.values()), default=None)

    def send(self, dst, layer, **fields):
        """Sends a layer of scapy's in a datagram, or in fragments."""
        header = IP(src=ADDRESS, dst=dst, ttl=64, id=next(self.ids) % (1 << 16), **fields)
        data = bytes(header / layer)
        if len(data) <= MTU:
            self.write(data)
            return
        header.proto, payload, step = data[9], data[HEADER:], (MTU - HEADER) // 8 * 8
        for at in range(0, len(payload), step):
            header.frag = at // 8
            is_last = at + step >= len(payload)
            header.flags = 0 if is_last and not faults.on("no fragment is the last") else "MF"
            self.write(bytes(header / Raw(payload[at:at + step])))


class Pieces:
    """A datagram in pieces: where two of them overlap, the later one stays (RFC 791 section 3.2)."""

    def __init__(self):
        self.data, self.blocks = bytearray(), set()
        self.length, self.first = None, None
        self.until = time.monotonic() + REASSEMBLY

    def add(self, fragment, start):
        end = start + len(fragment.payload)
        self.data.extend(bytes(max(end - len(self.data), 0)))
        self.data[start:end] = fragment.payload
        self.blocks.update(range(start // 8, (end + 7) // 8))
        if not fragment.header.flags.MF:
            self.length = end
        if start == 0:
            self.first = fragment

    def are_all(self):
        if self.length is None or self.first is None:
            return False
        return faults.on("holes between fragments") or len(self.blocks) >= (self.length + 7) // 8

    def whole(self):
        return Datagram(self.first.header, self.first.header_bytes, bytes(self.data[:self.length]))


def valid(data):
    """The datagram in these bytes if it is one for this host: RFC 1122's checks, in its order."""
    length = (data[0] & 15) * 4 if data else 0
    if not HEADER <= length <= len(data) or data[0] >> 4 != 4:
        return None
    if checksum(data[:length]) != 0 and not faults.on("the IP checksum is not verified"):
        return None
    header = IP(data[:length])
    if not length <= header.len <= len(data):
        return None
    if header.dst != ADDRESS and not (faults.on("broadcasts are for everybody") and is_for_many(header.dst)):
        return None
    if not is_host(header.src) and not faults.on("anything is a source"):
        return None
    end = len(data) if faults.on("padding is data") else header.len
    return Datagram(header, data[:length], data[length:end])


def is_for_many(address):
    """Whether an address is a broadcast or a group."""
    address = ipaddress.ip_address(address)
    return address.is_multicast or address in (NETWORK.broadcast_address, ipaddress.ip_address("255.255.255.255"))


def is_host(address):
    """Whether an address can be that of another host: no answer may go anywhere else."""
    parsed = ipaddress.ip_address(address)
    nobody = parsed.is_loopback or parsed.is_unspecified or parsed.is_reserved or parsed == NETWORK.network_address
    return not (nobody or is_for_many(address) or address == ADDRESS)
