"""Sends packets that a router has to judge from the left, and prints what became of each, one line a probe.

Arguments: the process whose namespace has `left`, the one whose namespace has `right`, and which probes: `all`, or
`sources`, which ask whether a source may come from here. Every probe has a source (or at least a port) of its own, by
which whatever comes back or through is told apart.
"""

import struct
import sys
import time

from wire import *

left, right = Wire(sys.argv[1], "left"), Wire(sys.argv[2], "right")
probes = []


def add(name, *packets):
    probes.append((name, packets))


def four():
    """A source of the left network for the next probe."""
    return f"10.1.0.{100 + len(probes)}"


def six():
    return f"fd01::{0x100 + len(probes):x}"


def port():
    return 20000 + len(probes)


def plain4(dst="10.2.0.2", size=32, src=None, **fields):
    src = src or four()
    return ipv4(src, dst, udp(src, dst, port(), 9, b"x" * size), **fields)


def plain6(dst="fd02::2", size=32, src=None, **fields):
    src = src or six()
    return ipv6(src, dst, udp(src, dst, port(), 9, b"x" * size), **fields)


RR = b"\x07\x0b\x04" + b"\0" * 8
RR_FULL = b"\x07\x07\x08" + b"\x0a\x01\x00\x02"
TS = b"\x44\x0c\x05\x00" + b"\0" * 8
TS_LAST = b"\x44\x08\x09\xe0" + b"\0" * 4
TS_FULL = b"\x44\x08\x09\xf0" + b"\0" * 4
LSRR = b"\x83\x07\x04" + b"\x0a\x02\x00\x02"
SSRR = b"\x89\x07\x04" + b"\x0a\x02\x00\x02"

def add_sources():
    """Packets that are as they should be but for where they say they come from."""
    for name, source in [("of the left", "10.1.0.77"), ("of the right", "10.2.0.77"), ("of the left host", "10.1.0.2"),
                         ("behind the right", "172.20.0.1"), ("behind the left", "172.21.0.1"),
                         ("that no route leads to", "192.0.2.1"), ("in a black hole", "198.51.100.1")]:
        add(f"v4 source {name}", plain4("10.2.0.3", src=source))
    for name, source in [("of the left", "fd01::77"), ("of the right", "fd02::77"), ("behind the right", "fd20::1"),
                         ("behind the left", "fd21::1"), ("that no route leads to", "2001:db8:9::1"),
                         ("in a black hole", "2001:db8:1::1")]:
        add(f"v6 source {name}", plain6("fd02::3", src=source))


def add_all():
    add("v4 plain", plain4())
    add("v4 tos and ident are kept", plain4(tos=0xB9, ident=0xABCD))
    add("v4 ttl 2", plain4(ttl=2))
    add("v4 ttl 1", plain4(ttl=1))
    add("v4 ttl 0", plain4(ttl=0))
    add("v4 ttl 1 for the router itself", plain4("10.1.0.1", ttl=1))
    add("v4 wrong checksum", plain4(sum=0x1234))
    add("v4 padding is cut", plain4() + b"padding")
    add("v4 too large with DF", plain4(size=1400, df=True))
    add("v4 too large without DF", plain4(size=1400))
    add("v4 as large as the link", plain4(size=1252, df=True))
    add("v4 one more than the link with DF", plain4(size=1253, df=True))
    add("v4 no route", plain4("192.0.2.1"))
    add("v4 blackhole", plain4("198.51.100.1"))
    add("v4 unreachable", plain4("203.0.113.1"))
    add("v4 prohibit", plain4("203.0.113.129"))
    add("v4 too large with DF and no route", plain4("192.0.2.1", size=1400, df=True))
    add("v4 source loopback", plain4(src="127.0.0.1"))
    add("v4 source zero", plain4(src="0.0.0.0"))
    add("v4 source multicast", plain4(src="224.0.0.5"))
    add("v4 source broadcast", plain4(src="255.255.255.255"))
    add("v4 source class E", plain4(src="240.0.0.1"))
    add("v4 source the router's own", plain4(src="10.1.0.1"))
    add("v4 source the router's other", plain4(src="10.2.0.1"))
    add("v4 destination loopback", plain4("127.0.0.1"))
    add("v4 destination zero", plain4("0.0.0.0"))
    add("v4 destination class E", plain4("240.0.0.1"))
    add("v4 destination limited broadcast", plain4("255.255.255.255"))
    add("v4 destination directed broadcast", plain4("10.2.0.255"))
    add("v4 destination old directed broadcast", plain4("10.2.0.0"))
    add("v4 destination multicast", plain4("224.0.0.1"))
    add("v4 destination link-local", plain4("169.254.1.1"))
    add("v4 source link-local", plain4(src="169.254.1.1"))
    add("v4 back where it came from", plain4("10.1.0.3"))
    add("v4 record route", plain4(options=RR))
    add("v4 record route full", plain4(options=RR_FULL))
    add("v4 timestamp", plain4(options=TS))
    add("v4 timestamp full", plain4(options=TS_LAST))
    add("v4 timestamp full and no more to count", plain4(options=TS_FULL))
    add("v4 loose source route", plain4(options=LSRR))
    add("v4 strict source route", plain4(options=SSRR))
    add("v4 option with length 0", plain4(options=b"\x07\x00\x04\x00"))
    add("v4 option past the header", plain4(options=b"\x07\x20\x04\x00"))
    add("v4 unknown option", plain4(options=b"\x9e\x04\x01\x02"))
    add("v4 router alert", plain4(options=b"\x94\x04\x00\x00"))
    add("v4 no-operation and end", plain4(options=b"\x01\x01\x01\x00"))
    add("v4 fragments as they are", *fragments(four(), "10.2.0.2", udp(four(), "10.2.0.2", port(), 9, b"y" * 600), 320))
    add("v4 fragment too large again",
        *fragments(four(), "10.2.0.2", udp(four(), "10.2.0.2", port(), 9, b"y" * 2700), 1400))
    add("v4 later fragment with ttl 1", ipv4(four(), "10.2.0.2", b"z" * 40, ttl=1, offset=800))
    add("v4 tcp", ipv4(four(), "10.2.0.77", tcp(four(), "10.2.0.77", port(), 81), TCP))
    add("v4 unknown protocol", ipv4(four(), "10.2.0.77", b"unknown " * 4, protocol=253))
    add("v4 ttl 1, an ICMP error", ipv4(four(), "10.2.0.2", icmp(3, 1, data=plain4()[:28]), ICMP, ttl=1))
    add("v4 ttl 1, an echo request", echo(four(), "10.2.0.77", port(), 1, ttl=1))
    add("v4 ttl 1, an echo reply", ipv4(four(), "10.2.0.77", icmp(0, 0), ICMP, ttl=1))
    add("v4 DF and reserved flag", plain4(df=True, reserved=True))

    add("v6 plain", plain6())
    add("v6 traffic class and flow label are kept", plain6(tc=0xB9, flow=0x54321))
    add("v6 hop limit 2", plain6(hops=2))
    add("v6 hop limit 1", plain6(hops=1))
    add("v6 hop limit 0", plain6(hops=0))
    add("v6 hop limit 1 for the router itself", plain6("fd01::1", hops=1))
    add("v6 padding is cut", plain6() + b"padding")
    add("v6 too large", plain6(size=1400))
    add("v6 as large as the link", plain6(size=1232))
    add("v6 one more than the link", plain6(size=1233))
    add("v6 no route", plain6("2001:db8:9::1"))
    add("v6 blackhole", plain6("2001:db8:1::1"))
    add("v6 unreachable", plain6("2001:db8:2::1"))
    add("v6 prohibit", plain6("2001:db8:3::1"))
    add("v6 source loopback", plain6(src="::1"))
    add("v6 source unspecified", plain6(src="::"))
    add("v6 source multicast", plain6(src="ff02::5"))
    add("v6 source link-local", plain6(src="fe80::99"))
    add("v6 destination loopback", plain6("::1"))
    add("v6 destination unspecified", plain6("::"))
    add("v6 destination link-local", plain6("fe80::77"))
    add("v6 destination link-local multicast", plain6("ff02::77"))
    add("v6 destination site multicast", plain6("ff05::77"))
    add("v6 back where it came from", plain6("fd01::3"))
    add("v6 fragments as they are",
        *fragments6(six(), "fd02::2", udp(six(), "fd02::2", port(), 9, b"y" * 600), 320))
    add("v6 fragment too large", *fragments6(six(), "fd02::2", udp(six(), "fd02::2", port(), 9, b"y" * 2700), 1400))
    add("v6 hop-by-hop padding",
        ipv6(six(), "fd02::2", b"\x11\0\x01\x04\0\0\0\0" + udp(six(), "fd02::2", port(), 9, b"x"), 0))
    add("v6 hop-by-hop unknown, skip",
        ipv6(six(), "fd02::2", b"\x11\0\x1e\x04\0\0\0\0" + udp(six(), "fd02::2", port(), 9, b"x"), 0))
    add("v6 hop-by-hop unknown, discard",
        ipv6(six(), "fd02::2", b"\x11\0\x5e\x04\0\0\0\0" + udp(six(), "fd02::2", port(), 9, b"x"), 0))
    add("v6 hop-by-hop unknown, tell",
        ipv6(six(), "fd02::2", b"\x11\0\x9e\x04\0\0\0\0" + udp(six(), "fd02::2", port(), 9, b"x"), 0))
    add("v6 destination options unknown, tell: not the router's business",
        ipv6(six(), "fd02::2", b"\x11\0\x9e\x04\0\0\0\0" + udp(six(), "fd02::2", port(), 9, b"x"), 60))
    add("v6 routing header on the way",
        ipv6(six(), "fd02::2", b"\x11\x02\0\x01\0\0\0\0" + ip("fd02::3") + udp(six(), "fd02::2", port(), 9, b"x"), 43))
    add("v6 no next header", ipv6(six(), "fd02::2", b"", 59))
    add("v6 tcp", ipv6(six(), "fd02::77", tcp(six(), "fd02::77", port(), 81), TCP))
    add("v6 unknown protocol", ipv6(six(), "fd02::77", b"unknown " * 4, 253))
    add("v6 hop limit 1, an ICMP error", ipv6(six(), "fd02::2", icmpv6(six(), "fd02::2", 1, 0, data=plain6()), 58, hops=1))
    add("v6 hop limit 1, an echo request", echo(six(), "fd02::77", port(), 1, hops=1))


add_sources() if sys.argv[3] == "sources" else add_all()


def same_options(options):
    """Options with the time left out: it is another each time."""
    if options[:1] == b"\x44":
        return options[:4].hex() + "..."
    return options.hex()


def through(seen):
    sums = "" if seen.sum_right and seen.transport_sum_right() else " WRONG CHECKSUM"
    options = f" options {same_options(seen.options)}" if seen.options else ""
    part = f" part {seen.offset}+{len(seen.payload)}{'...' if seen.mf else ''}" if seen.mf or seen.offset else ""
    extra = f" next {seen.protocol}" if seen.version == 6 and seen.protocol not in (UDP, TCP, ICMPV6) else ""
    ident = f" ident {seen.ident:x}" if seen.version == 4 else ""
    return (f"through: ttl {seen.ttl} length {seen.length} tos {seen.tos:x}{ident}{' DF' if seen.df else ''}"
            f"{part}{extra}{options}{sums}")


def back(seen):
    sums = "" if seen.sum_right and seen.transport_sum_right() else " WRONG CHECKSUM"
    if not seen.is_error():
        return f"back: protocol {seen.protocol} ttl {seen.ttl} from {seen.src} {seen.payload[:2].hex()}{sums}"
    kind, code, rest = seen.payload[0], seen.payload[1], seen.payload[4:8].hex()
    quote = seen.quoted()
    return (f"back: type {kind} code {code} rest {rest} from {seen.src} to {seen.dst} ttl {seen.ttl} tos {seen.tos:x} "
            f"quoting {len(seen.payload) - 8} of {quote.length} with ttl {quote.ttl}{sums}")


results = {}


def concerned(packet):
    """The index of the probe that a packet stems from."""
    seen = Seen(packet)
    about = seen.quoted() if seen.is_error() and not packet_is_probe(seen) else seen
    for address in (about.src, about.dst):
        for base, prefix in ((100, "10.1.0."), (0x100, "fd01::")):
            if address.startswith(prefix):
                number = int(address[len(prefix):], 10 if base == 100 else 16)
                if number >= base:
                    return number - base
    if about.protocol == UDP and len(about.payload) >= 2 and not about.offset:
        return struct.unpack("!H", about.payload[:2])[0] - 20000
    return None


def packet_is_probe(seen):
    """Whether an ICMP error is itself what we sent, on its way through."""
    return seen.dst.startswith(("10.2.", "fd02:"))


for name, packets in probes:
    for packet in packets:
        left.send(packet)
    # Linux sends no more than a thousand errors a second, fifty in a burst, whoever they are for; so do we.
    time.sleep(0.005)
for wire, describe in ((left, back), (right, through)):
    for packet in wire.received(0.7):
        probe = concerned(packet)
        if probe is not None and 0 <= probe < len(probes):
            seen = Seen(packet)
            # What the right host answers of its own accord comes through as well; it is not the router's.
            if describe is back and seen.src in ("10.2.0.2", "fd02::2"):
                continue
            results.setdefault(probe, []).append(describe(seen))
for number, (name, _) in enumerate(probes):
    print(f"{name} -> {'; '.join(results.get(number, ['nothing']))}")
