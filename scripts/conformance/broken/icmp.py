"""ICMP in miniature (RFC 792, RFC 1122 section 3.2.2): pings, and errors that hurt nobody."""

import time

from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw
from scapy.utils import checksum

from broken import faults
from broken.ip import HEADER, is_for_many, is_host

ECHO_REPLY, UNREACHABLE, ECHO_REQUEST, TIME_EXCEEDED = 0, 3, 8, 11
PROTOCOL, PORT, TOO_BIG = 2, 3, 4  # codes of UNREACHABLE
INFORMATION = {0, 8, 13, 14, 15, 16, 17, 18}  # all others are errors
ERROR_LIMIT = 576  # RFC 1812 section 4.3.2.3: how long an error may be
BURST, PER_SECOND = 20, 10


class Icmp:
    """The layer; `too_big(quote, mtu)` is told of paths that turned out to be narrow."""

    def __init__(self, ip):
        self.ip = ip
        self.too_big = lambda quote, payload, mtu: None
        self.tokens, self.filled = BURST, time.monotonic()
        ip.above[1] = self.receive
        ip.unknown = lambda datagram: self.error(datagram, UNREACHABLE, PROTOCOL)
        ip.expired = lambda datagram: self.error(datagram, TIME_EXCEEDED, 1)

    def receive(self, datagram):
        data = datagram.payload
        if len(data) < 8 or (checksum(data) != 0 and not faults.on("the ICMP checksum is not verified")):
            return
        message = ICMP(data[:8])
        if message.type == ECHO_REQUEST and not is_for_many(datagram.dst):
            body = data[8:64] if faults.on("long pings are cut") else data[8:]
            number = 0 if faults.on("replies to pings are all number 0") else message.seq
            self.ip.send(datagram.src, ICMP(type=ECHO_REPLY, id=message.id, seq=number) / Raw(body))
        elif message.type == UNREACHABLE and message.code == TOO_BIG and len(data) >= 8 + HEADER + 8:
            length = (data[8] & 15) * 4
            if HEADER <= length <= len(data) - 16:
                self.too_big(IP(data[8:8 + length]), data[8 + length:], int.from_bytes(data[6:8], "big"))

    def error(self, about, kind, code):
        """Sends an error about a datagram, unless it is of those that none may be sent about (RFC 1122 section 3.2.2)."""
        kind_of_theirs = about.payload[0] if about.proto == 1 and about.payload else ECHO_REQUEST
        if kind_of_theirs not in INFORMATION or not is_host(about.src):
            return
        if is_for_many(about.dst) and not faults.on("broadcasts are for everybody"):
            return
        if not self.may_complain():
            return
        quote = (about.header_bytes + about.payload)[:ERROR_LIMIT - HEADER - 8]
        if faults.on("errors quote too little"):
            quote = quote[:len(about.header_bytes) + 4]
        self.ip.send(about.src, ICMP(type=kind, code=code) / Raw(quote))

    def may_complain(self):
        """Whether there may be one more error yet: a bucket of tokens (RFC 1812 section 4.3.2.8)."""
        now = time.monotonic()
        self.tokens = min(self.tokens + (now - self.filled) * PER_SECOND, BURST)
        self.filled = now
        if self.tokens < 1 and not faults.on("errors without limit"):
            return False
        self.tokens -= 1
        return True
