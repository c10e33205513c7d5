"""What two captures of one TCP connection, one at either end of the path, say about who sent what again, and why."""

import bisect
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

# What tshark calls it, and how we do.
TSHARK_FIELDS = {
    "tcp.analysis.retransmission": "retransmission",
    "tcp.analysis.fast_retransmission": "fast_retransmission",
    "tcp.analysis.spurious_retransmission": "spurious_retransmission",
    "tcp.analysis.out_of_order": "out_of_order",
}


class Segment(NamedTuple):
    """A segment as the capture has it; positions count from the first octet of text of whoever sent that."""

    at: float
    of_sender: bool
    start: int
    end: int
    ack: int
    sacks: tuple


@dataclass
class Story:
    """How a transfer went."""

    text: int  # octets that were acknowledged, of those that were asked for
    seconds: float  # from the first text sent to the last acknowledged
    stall: float  # the longest time without an acknowledgement that gets on
    stall_at: float  # when it began, from the first text sent
    mss: int
    sent_again: int  # octets
    needless: int  # of these: octets of which an earlier copy arrived
    lost: int  # octets sent that did not arrive
    dsacks: int
    tshark: dict = field(default_factory=dict)

    def segments(self, octets):
        return octets / self.mss if self.mss else 0.0


def tell(at_sender, at_receiver, size):
    """The story of the first `size` octets of text, from the segments of two captures."""
    sent = [s for s in at_sender if s.of_sender and s.start < size and s.end > s.start]
    arrived = [s for s in at_receiver if s.of_sender and s.start < size and s.end > s.start]
    if not sent:
        return Story(0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0)
    text, seconds, stall, stall_at = progress(at_sender, sent, size)
    sent_again, needless, lost = copies(sent, arrived, size)
    # The path carries single segments; a sender's capture may have larger ones.
    mss = max((s.end - s.start for s in arrived), default=min(s.end - s.start for s in sent))
    dsacks = sum(is_dsack(s) for s in at_sender if not s.of_sender)
    return Story(text, seconds, stall, stall_at, mss, sent_again, needless, lost, dsacks)


def progress(at_sender, sent, size):
    """How far acknowledgements got and when, and the longest time in which they did not get on.

    A transfer that was given up has not got on since the last of them: that is a stall, too."""
    begun = last = sent[0].at
    una, longest = 0, (0.0, begun)
    for segment in at_sender:
        if una >= size or segment.of_sender or segment.ack <= una:
            continue
        longest = max(longest, (segment.at - last, last))
        una, last = min(segment.ack, size), segment.at
    end = last if una >= size else at_sender[-1].at
    longest = max(longest, (end - last, last))
    return una, end - begun, longest[0], longest[1] - begun


def copies(sent, arrived, size):
    """Octets sent again, octets of these that had no need to be, and octets that were lost.

    Whether a copy was needed can be seen where both ends are: it was not if an earlier one arrived, before it was sent or after. Copies of an
    octet look alike, so what is counted is the larger of those sent after the first arrival, and the arrivals after the first: each
    of them is needless. (The path itself must not duplicate.)
    """
    bounds = sorted({min(b, size) for s in (*sent, *arrived) for b in (max(s.start, 0), s.end)})
    transmissions = [[] for _ in bounds]
    arrivals = [[] for _ in bounds]
    for segments, times in ((sent, transmissions), (arrived, arrivals)):
        for segment in segments:
            first = bisect.bisect_left(bounds, max(segment.start, 0))
            for cell in range(first, bisect.bisect_left(bounds, min(segment.end, size))):
                times[cell].append(segment.at)
    sent_again = needless = lost = 0
    for cell, (start, end) in enumerate(zip(bounds, bounds[1:])):
        times, came = transmissions[cell], arrivals[cell]
        sent_again += (len(times) - 1) * (end - start) if times else 0
        lost += max(len(times) - len(came), 0) * (end - start)
        if came:
            late = sum(at > came[0] for at in times[1:])
            needless += max(late, len(came) - 1) * (end - start)
    return sent_again, needless, lost


def is_dsack(segment):
    """RFC 2883 section 4: the first block lies below the acknowledgement, or within the second."""
    if not segment.sacks:
        return False
    start, end = segment.sacks[0]
    if end <= segment.ack:
        return True
    return len(segment.sacks) > 1 and segment.sacks[1][0] <= start and end <= segment.sacks[1][1]


def read(path, sender):
    """The segments of a capture of one connection, `sender` being the address of whoever sends the text."""
    source = bytes(int(part) for part in sender.split("."))
    packets = [(at, packet) for at, packet in pcap(path) if packet[0] >> 4 == 4 and packet[9] == 6]
    origin = None
    for _, packet in packets:
        header = (packet[0] & 15) * 4
        if packet[12:16] == source and packet[header + 13] & 2:
            origin = int.from_bytes(packet[header + 4 : header + 8], "big") + 1
            break
    if origin is None:
        return []
    return [segment(at, packet, source, origin) for at, packet in packets]


def segment(at, packet, source, origin):
    header = (packet[0] & 15) * 4
    tcp = packet[header:]
    of_sender = packet[12:16] == source
    offset = (tcp[12] >> 4) * 4
    length = int.from_bytes(packet[2:4], "big") - header - offset
    position = lambda octets: signed(int.from_bytes(octets, "big") - origin)
    if of_sender:
        # A SYN stands before the first octet.
        start = position(tcp[4:8]) + (tcp[13] >> 1 & 1)
        return Segment(at, True, start, start + length, 0, ())
    ack = position(tcp[8:12]) if tcp[13] & 16 else 0
    return Segment(at, False, 0, 0, ack, tuple((position(a), position(b)) for a, b in sack_blocks(tcp[20:offset])))


def signed(difference):
    return (difference + (1 << 31)) % (1 << 32) - (1 << 31)


def sack_blocks(options):
    """The SACK blocks among TCP's options."""
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2:
            return []
        if options[at] == 5:
            body = options[at + 2 : at + length]
            return [(body[n : n + 4], body[n + 4 : n + 8]) for n in range(0, len(body) - 7, 8)]
        at += length
    return []


def pcap(path):
    """Time and octets of every packet of a capture of a TUN device."""
    octets = Path(path).read_bytes()
    # A second has so many parts.
    parts = {b"\xd4\xc3\xb2\xa1": 1e6, b"\x4d\x3c\xb2\xa1": 1e9}.get(octets[:4])
    if parts is None:
        raise ValueError(f"{path} is no pcap file of this machine's byte order")
    if int.from_bytes(octets[20:24], "little") not in (12, 101):
        raise ValueError(f"{path} is not of raw IP")
    at = 24
    while at + 16 <= len(octets):
        seconds, part, length = (int.from_bytes(octets[at + n : at + n + 4], "little") for n in (0, 4, 8))
        packet = octets[at + 16 : at + 16 + length]
        at += 16 + length
        if len(packet) == length and length >= 40:
            yield seconds + part / parts, packet


def tshark(path, sender):
    """How often tshark says what of the sender's segments."""
    command = ["tshark", "-n", "-r", str(path), "-o", "tcp.desegment_tcp_streams:false", "-T", "fields"]
    command += ["-Y", f"ip.src == {sender} && tcp.analysis.flags"]
    for name in TSHARK_FIELDS:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"tshark can't read {path}: {done.stderr.strip()}")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: sum(bool(row[n : n + 1] and row[n]) for row in rows) for n, name in enumerate(TSHARK_FIELDS.values())}
