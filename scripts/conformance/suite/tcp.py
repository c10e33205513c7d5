"""A TCP connection as a tester has it: every segment said by hand, everything usual filled in.

Sequence numbers are relative, as in most tools: the tester's SYN is 0 and its first byte 1 (`seq`), and so are the
target's (`ack`, and `seq` of what comes). `iss` says what 0 is on the wire, so that a case can begin below 2**32.
"""

import time

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Raw

from .failure import Mismatch
from .setting import SILENCE, WITHIN
from .wire import TESTER

WRAP = 1 << 32
ANY = object()  # an option with whatever value
MSS, WSCALE, SACK_OK, SACK, TIMESTAMP = "MSS", "WScale", "SAckOK", "SAck", "Timestamp"


class Segment:
    """A segment that the target has sent, in numbers relative to its connection."""

    def __init__(self, connection, seen):
        layer = seen.packet[TCP]
        self.at, self.packet, self.layer = seen.at, seen.packet, layer
        self.flags = str(layer.flags)
        self.data = payload(seen.packet)
        self.seq = relative(layer.seq, connection.irs)
        self.ack = relative(layer.ack, connection.iss) if "A" in self.flags else None
        self.window = layer.window
        self.urgent = layer.urgptr
        self.options = {name: value for name, value in layer.options}
        self.length = len(self.data)

    @property
    def end(self):
        """The sequence number after it."""
        return None if self.seq is None else self.seq + self.length + ("S" in self.flags) + ("F" in self.flags)

    @property
    def edge(self):
        """The right edge of the window that it offers, where windows are not scaled."""
        return self.ack + self.window

    def __repr__(self):
        ack = "" if self.ack is None else f" ack {self.ack}"
        options = f" {self.options}" if self.options else ""
        return f"{self.flags} seq {self.seq}:{self.end}({self.length}){ack} win {self.window}{options}"


class Tcp:
    """One end of a connection; the other is the target's.

    `nxt` is where the next segment begins if `send` is not told otherwise, `rcv` how far the target's bytes have come
    in order.
    """

    def __init__(self, net, port, src=None, sport=None, iss=None):
        self.net = net
        self.src, self.port = src or net.tester, port
        self.sport = next(net.ports) if sport is None else sport
        self.iss = net.random.randrange(WRAP) if iss is None else iss
        self.irs = None
        self.nxt, self.rcv = 0, 0
        self.window = 65535
        self.options = {}  # of the target's SYN
        self.clock = None  # of timestamps, where both ends use them
        self.received = bytearray()
        self.later = {}  # out of order: where it begins, and what it is
        if not hasattr(net, "connections"):
            net.connections = []
        net.connections.append(self)

    # What the tester does

    def connect(self, mss=1460, wscale=None, sack=False, timestamps=False, window=65535, within=WITHIN):
        """The three-way handshake. Options that are not asked for are not offered."""
        self.window = window
        self.open(mss=mss, wscale=wscale, sack=sack, timestamps=timestamps)
        self.expect("SA", ack=1, within=within)
        self.send()
        return self

    def open(self, mss=1460, wscale=None, sack=False, timestamps=False, **how):
        """Sends a SYN with the options asked for."""
        options = [] if mss is None else [(MSS, mss)]
        options += [(SACK_OK, b"")] if sack else []
        options += [(TIMESTAMP, (self.now(), 0))] if timestamps else []
        options += [] if wscale is None else [("NOP", None), (WSCALE, wscale)]
        self.send(flags="S", options=options, **how)

    def send(self, data=b"", flags=None, **how):
        """Sends a segment; see `segment` for what can be said."""
        explicit = "seq" in how
        packet = self.segment(data, flags, **how)
        if not explicit:
            flags = str(packet[TCP].flags)
            self.nxt += len(data) + ("S" in flags) + ("F" in flags)
        self.net.send(packet)
        return packet

    def segment(self, data=b"", flags=None, seq=None, ack=None, window=None, options=None, raw_options=None, ip=None,
                **fields):
        """A segment that is not sent yet.

        `seq` and `ack` are relative; left out, they are what is next. `raw_options` are bytes that stand where options
        do, right or not (their number a multiple of 4). `ip` are fields of the IP header, `fields` of the TCP header
        (`chksum`, `dataofs`, `urgptr`, `reserved`, ...). A segment with a given `seq` does not move what is next.
        """
        flags = flags if flags is not None else ("PA" if data else "A")
        seq = self.nxt if seq is None else seq
        has_ack = "A" in flags or ack is not None
        ack = self.rcv if ack is None else ack
        layer = TCP(sport=self.sport, dport=self.port, flags=flags, seq=(self.iss + seq) % WRAP,
                    ack=((self.irs or 0) + ack) % WRAP if has_ack else 0,
                    window=self.window if window is None else window)
        if raw_options is not None:
            # What stands before the data and is counted to the header: scapy has no say in it.
            layer.dataofs = 5 + len(raw_options) // 4
            data = raw_options + data
        else:
            layer.options = self.usual_options(flags) if options is None else options
        for name, value in fields.items():
            setattr(layer, name, value)
        packet = self.net.ip(src=self.src, **(ip or {})) / layer
        return packet / Raw(data) if data else packet

    def usual_options(self, flags):
        if self.clock is None or "S" in flags:
            return []
        return [("NOP", None), ("NOP", None), (TIMESTAMP, (self.now(), self.clock))]

    def now(self):
        """The tester's clock of timestamps, in milliseconds."""
        return int(time.monotonic() * 1000) % WRAP

    # What the target does

    def expect(self, flags=None, within=WITHIN, **wanted):
        """The next segment of this connection that is as wanted; what comes before it is passed over.

        `flags` are all of S, F, R and A that the segment has; P, U, E and C count only if they are named. The others are
        `seq`, `ack`, `data`, `length`, `window`, `urgent`, `end`: values, or functions that judge them; and `options`:
        a dictionary by name, with `None` for what must not be there and `ANY` for any value. A reset that was not asked
        for fails at once.
        """
        until, passed = time.monotonic() + within, []
        while (segment := self.next(until)) is not None:
            if not self.wrong(segment, flags, wanted):
                return segment
            passed.append(segment)
            if "R" in segment.flags and "R" not in (flags or ""):
                break
        text = f"no segment {self.told(flags, wanted)} within {within} s"
        raise Mismatch(self.net, text, closest=self.closest(passed, flags, wanted))

    def expect_next(self, flags=None, within=WITHIN, **wanted):
        """The same, but nothing may come before it."""
        segment = self.next(time.monotonic() + within)
        if segment is None or self.wrong(segment, flags, wanted):
            passed = [segment] if segment else []
            text = f"the next segment is not {self.told(flags, wanted)}"
            raise Mismatch(self.net, text, closest=self.closest(passed, flags, wanted))
        return segment

    def expect_nothing(self, for_=SILENCE, flags=None, **wanted):
        """Fails if a segment of this connection comes that is as described: any, if nothing is. The others are over."""
        until = time.monotonic() + for_
        while (segment := self.next(until)) is not None:
            if not self.wrong(segment, flags, wanted):
                raise Mismatch(self.net, f"the target sent what it must not: {segment}")

    def expect_reset(self, within=WITHIN, **wanted):
        """A reset, with or without an acknowledgement."""
        wanted.setdefault("flags", None)
        flags = wanted.pop("flags")
        until, passed = time.monotonic() + within, []
        while (segment := self.next(until)) is not None:
            if "R" in segment.flags and not self.wrong(segment, flags, wanted):
                return segment
            passed.append(segment)
        text = f"no reset {self.told(flags, wanted)} within {within} s"
        raise Mismatch(self.net, text, closest=self.closest(passed, flags, wanted))

    def collect(self, for_):
        """All segments that come in this time."""
        until, segments = time.monotonic() + for_, []
        while (segment := self.next(until)) is not None:
            segments.append(segment)
        return segments

    def read(self, length, within=2 * WITHIN, acknowledge=True):
        """So many bytes of the target's, in order, acknowledged as they come."""
        until = time.monotonic() + within
        while len(self.received) < length:
            segment = self.next(until)
            if segment is None:
                raise Mismatch(self.net, f"{len(self.received)} of {length} bytes came within {within} s")
            if segment.length and acknowledge:
                self.send()
        data = bytes(self.received[:length])
        del self.received[:length]
        return data

    def delay_of(self, segment):
        """How long after the tester's last packet a segment came that has just been expected, in seconds."""
        return segment.at - max(seen.at for seen in self.net.wire.history if seen.sender == TESTER and seen.at <= segment.at)

    def next(self, until):
        """The next segment of this connection; `None` if there is none before `until` (time.monotonic)."""
        seen = self.net.take(self.owns, until)
        return None if seen is None else self.note(seen)

    def owns(self, seen):
        packet = seen.packet
        if not packet.haslayer(TCP) or packet.firstlayer().payload.name != "TCP":
            return False
        layer, ip = packet[TCP], packet.firstlayer()
        ports = layer.dport == self.sport and (self.port is None or layer.sport == self.port)
        return ports and ip.src == self.net.target and ip.dst == self.src

    def note(self, seen):
        """Keeps up with what the target has sent."""
        layer = seen.packet[TCP]
        if "S" in layer.flags and self.irs is None:
            self.irs, self.port = layer.seq, layer.sport
            self.options = {name: value for name, value in layer.options}
            self.rcv = 1
            segment = Segment(self, seen)
            if TIMESTAMP in self.options:
                self.clock = self.options[TIMESTAMP][0]
            return segment
        segment = Segment(self, seen)
        if "R" in segment.flags or segment.seq is None:
            return segment
        stamp = segment.options.get(TIMESTAMP)
        if self.clock is not None and stamp and segment.seq <= self.rcv:
            self.clock = stamp[0]
        if segment.length:
            self.later[segment.seq] = max(self.later.get(segment.seq, b""), segment.data, key=len)
        if "F" in segment.flags and "S" not in segment.flags:
            self.later.setdefault(segment.seq + segment.length, b"")
            self.fin = segment.seq + segment.length
        for seq in sorted(self.later):
            if seq > self.rcv:
                break
            data = self.later.pop(seq)
            new = data[self.rcv - seq:]
            self.received += new
            self.rcv += len(new)
        if getattr(self, "fin", None) == self.rcv:
            self.rcv += 1
        return segment

    def needs(self, option):
        """Ends the case as not applicable if the target has not negotiated an option (MSS, WSCALE, ...)."""
        if option not in self.options:
            pytest.skip(f"the target does not negotiate {option}")

    # How it is told

    def wrong(self, segment, flags, wanted):
        """What of a segment is not as wanted, by name: what it is, and what it should be."""
        wrong = {}
        if flags is not None:
            counted = set("SFRA") | set(flags)
            if {flag for flag in segment.flags if flag in counted} != set(flags):
                wrong["flags"] = (segment.flags, flags)
        for name, value in wanted.items():
            if name == "options":
                for option, value in value.items():
                    there = segment.options.get(option)
                    if not (there is not None if value is ANY else value(there) if callable(value) else there == value):
                        wrong[option] = (there, "any value" if value is ANY else value)
                continue
            there = getattr(segment, name)
            if not (value(there) if callable(value) else there == value):
                wrong[name] = (there, value)
        return wrong

    def told(self, flags, wanted):
        parts = [flags] if flags else []
        for name, value in wanted.items():
            parts.append(f"{name}={'(as said)' if callable(value) else repr(value)}")
        return " ".join(parts) or "at all"

    def closest(self, passed, flags, wanted):
        if not passed:
            return ["    nothing of this connection came"]
        best = min(passed, key=lambda segment: len(self.wrong(segment, flags, wanted)))
        lines = [f"    {best}"]
        for name, (there, value) in self.wrong(best, flags, wanted).items():
            lines.append(f"    {name}: {there!r}, wanted {'something else' if callable(value) else repr(value)}")
        return lines

    def describe(self, packet):
        """A line for a segment of this connection, in relative numbers; `None` if it is another's."""
        layer = packet[TCP]
        ours = (layer.sport, layer.dport) == (self.sport, self.port)
        if not ours and (layer.dport, layer.sport) != (self.sport, self.port):
            return None
        seq_from, ack_from = (self.iss, self.irs) if ours else (self.irs, self.iss)
        data = payload(packet)
        seq = relative(layer.seq, seq_from)
        ack = f" ack {relative(layer.ack, ack_from)}" if "A" in layer.flags else ""
        options = " ".join(f"{name}={value}" if value else str(name) for name, value in layer.options if name != "NOP")
        end = None if seq is None else seq + len(data)
        return (f"{layer.sport} > {layer.dport} {layer.flags} {seq}:{end}({len(data)}){ack} win {layer.window}"
                + (f" <{options}>" if options else ""))


def pattern(length):
    """Bytes that are not mistaken for their neighbours."""
    return bytes(number * number // 7 % 251 for number in range(length))


def relative(number, start):
    """A sequence number counted from `start`, between -2**31 and 2**31."""
    if start is None:
        return None
    return (number - start + (WRAP >> 1)) % WRAP - (WRAP >> 1)


def payload(packet):
    """The bytes behind a TCP header, without what a short frame was padded with."""
    ip, layer = packet.firstlayer(), packet[TCP]
    total = (ip.len - ip.ihl * 4) if ip.version == 4 else ip.plen
    data = bytes(ip.payload)
    return data[layer.dataofs * 4:total]
