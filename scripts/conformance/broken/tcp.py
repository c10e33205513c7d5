"""TCP in miniature: which connection a segment is for, how connections begin, and what nobody has asked for is told.

The rest is in `connection` (what comes) and `sender` (what goes out); the order of the checks is that of RFC 9293
section 3.10.7.
"""

import hashlib
import os
import time

from scapy.layers.inet import TCP
from scapy.packet import Raw

from broken import faults
from broken.checksum import transport_checksum
from broken.connection import Connection
from broken.segment import WRAP, parse, plus
from broken.services import SERVICES

HALF_OPEN = 128  # connections whose handshake is not over


class Tcp:
    """The layer: connections by their peers' addresses and both ports."""

    def __init__(self, ip, icmp):
        self.ip = ip
        self.connections = {}
        self.secret = os.urandom(16)
        ip.above[6] = self.receive
        icmp.too_big = self.too_big

    def receive(self, datagram):
        is_wrong = transport_checksum(datagram, datagram.payload) != 0
        segment = parse(datagram)
        if segment is None or (is_wrong and not faults.on("the TCP checksum is not verified")):
            return
        connection = self.connections.get(segment.key)
        if connection is not None and connection.is_reopened_by(segment):
            self.forget(connection)
            connection = None
        if connection is not None:
            connection.receive(segment)
        elif segment.key[2] in SERVICES and not segment.flags & set("RA"):
            self.listen(segment)
        else:
            self.reset(segment)

    def listen(self, segment):
        """What comes to a port that listens (RFC 9293 section 3.10.7.2)."""
        half_open = [one for one in self.connections.values() if one.state == "SYN-RECEIVED"]
        if "S" not in segment.flags or len(half_open) >= HALF_OPEN:
            return
        service = SERVICES[segment.key[2]]()
        self.connections[segment.key] = Connection(self, segment, self.first_number(segment.key), service)

    def first_number(self, key):
        """RFC 9293 section 3.4.1: a clock of 4 microseconds, and for each pair of sockets another start of it."""
        if faults.on("all connections begin with the same number"):
            return 1000
        secret = hashlib.blake2b(repr(key).encode(), key=self.secret, digest_size=4).digest()
        return plus(int.from_bytes(secret, "big"), int(time.monotonic() * 250_000))

    def reset(self, segment):
        """The answer to what is for no connection (RFC 9293 section 3.10.7.1)."""
        if "R" in segment.flags and not faults.on("resets draw resets"):
            return
        if faults.on("closed TCP ports are silent"):
            return
        if "A" in segment.flags:
            self.send(segment.key, "R", segment.ack, 0)
        else:
            ack = segment.seq if faults.on("resets do not count the SYN") else segment.end()
            self.send(segment.key, "RA", 0, ack)

    def send(self, key, flags, seq, ack, window=0, data=b"", options=()):
        """Puts a segment on the wire."""
        address, theirs, ours = key
        layer = TCP(sport=ours, dport=theirs, flags=flags, seq=seq % WRAP, ack=ack % WRAP, window=window, options=list(options))
        self.ip.send(address, layer / Raw(data) if data else layer, flags="DF")

    def too_big(self, quote, payload, mtu):
        """A router cannot pass on our datagrams of that length (RFC 1191)."""
        theirs, ours, seq = (int.from_bytes(payload[at:at + size], "big") for at, size in ((2, 2), (0, 2), (4, 4)))
        connection = self.connections.get((quote.dst, theirs, ours))
        if connection is not None and quote.proto == 6:
            connection.path_is_narrow(seq, mtu)

    def forget(self, connection):
        if self.connections.get(connection.key) is connection:
            del self.connections[connection.key]

    def tick(self, now):
        for connection in list(self.connections.values()):
            connection.tick(now)

    def deadline(self):
        return min((connection.deadline() for connection in self.connections.values()), default=None)
