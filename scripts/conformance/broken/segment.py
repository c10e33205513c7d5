"""TCP segments as they come (RFC 9293 section 3.1), their options, and arithmetic with numbers that wrap."""

from dataclasses import dataclass, field

from scapy.layers.inet import TCP

from broken import faults

WRAP = 1 << 32
END, NOP, MSS, WSCALE = 0, 1, 2, 3
LENGTH = {MSS: 4, WSCALE: 3}


@dataclass
class Segment:
    """What a connection needs to know of a segment."""

    key: tuple  # the peer's address and port, and our port
    seq: int
    ack: int
    flags: frozenset
    window: int
    data: bytes
    options: dict = field(default_factory=dict)  # by kind

    def length(self):
        return len(self.data) + ("S" in self.flags) + ("F" in self.flags)

    def end(self):
        return plus(self.seq, self.length())


def parse(datagram):
    """The segment in a datagram; `None` if there is none."""
    data = datagram.payload
    length = (data[12] >> 4) * 4 if len(data) >= 20 else 0
    if not 20 <= length <= len(data):
        return None
    header = TCP(data[:20])
    return Segment((datagram.src, header.sport, header.dport), header.seq, header.ack, frozenset(str(header.flags)),
                   header.window, data[length:], options_of(data[20:length]))


def options_of(data):
    """The options by kind. Where they stop making sense, they end (RFC 9293 section 3.1, MUST-7)."""
    found, at = {}, 0
    while at < len(data):
        kind = data[at]
        if kind == END:
            break
        if kind == NOP:
            at += 1
            continue
        if kind not in LENGTH and faults.on("unknown options end the list"):
            break
        length = data[at + 1] if at + 1 < len(data) else 0
        if not 2 <= length <= len(data) - at:
            while faults.on("an option of length 0 is for ever"):
                at += length
            break
        if length == LENGTH.get(kind, length):
            found[kind] = data[at + 2:at + length]
        at += length
    return found


def mss_of(options):
    """What the peer takes in a segment (RFC 9293 section 3.7.1)."""
    if MSS not in options:
        return 1460 if faults.on("no MSS means as much as fits") else 536
    if faults.on("the MSS is not honoured"):
        return 1460
    return max(int.from_bytes(options[MSS], "big"), 64)


def plus(number, count):
    return (number + count) % WRAP


def minus(one, other):
    """How far a number is after another, less than 0 if it is before it."""
    if faults.on("sequence numbers do not wrap"):
        return one - other
    return (one - other + WRAP // 2) % WRAP - WRAP // 2
