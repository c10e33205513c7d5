"""Sends packets that no honest host sends, of every kind that is named here.

Arguments: the process whose namespace has the device ("self" for our own), the device, where the packets are to go in
either family, and the address of the stack that has to judge them. Prints the kinds, each with what the stack may do with it (drop reasons, or `delivered`; the first
has to happen to some), then obeys lines of standard input, `KIND COUNT SEED`; kind `all` draws from all of them. After every hundred packets it
waits for the answer to a ping, so that no queue overflows and every packet has been seen once it says `sent`.
"""

import random
import sys

from wire import *

US4, US6, STACK = sys.argv[3:6]
# The networks that the packets come from.
NET4, NET6 = STACK[:STACK.rindex(".") + 1], "fd01::" if STACK.startswith("10.1.") else "fd09::"
OPEN, CLOSED = 7, 4444
ANY = ("any",)
KINDS = {}
rng = random.Random(0)


def kind(name, *reasons):
    def enter(make):
        KINDS[name] = (make, reasons)
        return make
    return enter


def src4():
    # Hosts that are not there: what the stack answers goes nowhere.
    return f"{NET4}{rng.randrange(100, 250)}"


def src6():
    return f"{NET6}{rng.randrange(0x100, 0x10000):x}"


def port():
    return rng.randrange(1024, 65536)


def noise(most=64, least=0):
    return rng.randbytes(rng.randrange(least, most + 1))


def udp4(data=b"hello", dport=OPEN, src=None, dst=US4, **fields):
    src = src or src4()
    return ipv4(src, dst, udp(src, dst, port(), dport, data), **fields)


def udp6(data=b"hello", dport=OPEN, src=None, dst=US6, **fields):
    src = src or src6()
    return ipv6(src, dst, udp(src, dst, port(), dport, data), **fields)


def tcp4(src=None, dst=US4, sport=None, dport=OPEN, **fields):
    src = src or src4()
    return ipv4(src, dst, tcp(src, dst, sport or port(), dport, **fields), TCP)


def tcp6(src=None, dst=US6, sport=None, dport=OPEN, **fields):
    src = src or src6()
    return ipv6(src, dst, tcp(src, dst, sport or port(), dport, **fields), TCP)


def either(four, six):
    return rng.choice((four, six))()


# --- The header of IPv4.

@kind("version", "ip-version")
def _():
    return bytes([rng.choice([0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15]) << 4 | 5]) + udp4()[1:]


@kind("v4-shorter-than-a-header", "truncated")
def _():
    return udp4()[:rng.randrange(1, 20)]


@kind("v4-header-length-below-five", "ip-length")
def _():
    return udp4(ihl=rng.randrange(5))


@kind("v4-header-longer-than-the-packet", "truncated", "ip-length")
def _():
    return ipv4(src4(), US4, b"", ihl=rng.randrange(6, 16))


@kind("v4-total-length-below-the-header", "ip-length")
def _():
    return udp4(length=rng.randrange(20))


@kind("v4-total-length-past-the-packet", "truncated")
def _():
    return udp4(length=rng.randrange(34, 65536))


@kind("v4-checksum", "ip-checksum")
def _():
    packet = bytearray(udp4())
    packet[10] ^= rng.randrange(1, 256)
    return bytes(packet)


@kind("v4-option-length-0-or-1", "ip-option")
def _():
    return udp4(options=bytes([rng.choice([7, 68, 130, 148, 30]), rng.randrange(2), 4, 0]))


@kind("v4-option-past-the-header", "ip-option")
def _():
    return udp4(options=bytes([rng.choice([7, 68, 130, 148, 30]), rng.randrange(5, 256), 4, 0]))


@kind("v4-record-route-pointer", "ip-option")
def _():
    return udp4(options=bytes([7, 7, rng.choice([0, 1, 2, 3]), 0, 0, 0, 0]))


@kind("v4-timestamp-pointer", "ip-option")
def _():
    return udp4(options=bytes([68, 8, rng.choice([0, 1, 2, 3, 4]), 0, 0, 0, 0, 0]))


@kind("v4-source-route", "source-routed")
def _():
    return udp4(options=bytes([rng.choice([131, 137]), 7, 4]) + ip("10.9.0.1"))


@kind("v4-options-of-noise", "ip-option", "source-routed", "delivered")
def _():
    return udp4(options=noise(40, 1)[:40])


# --- Addresses that nobody has.

@kind("v4-martian-source", "martian-source")
def _():
    return udp4(src=rng.choice(["0.0.0.0", "127.0.0.1", "127.9.9.9", "224.0.0.1", "239.1.2.3", "240.0.0.1",
                                "255.255.255.255", "0.1.2.3"]))


@kind("v4-land", "martian-source")
def _():
    return tcp4(src=US4, sport=OPEN)


@kind("v4-source-is-the-nets-broadcast", "martian-source")
def _():
    return udp4(src="10.9.0.255")


@kind("v4-martian-destination", "martian-destination", "not-ours")
def _():
    return udp4(dst=rng.choice(["127.0.0.1", "0.0.0.0", "240.0.0.1", "0.1.2.3"]))


@kind("v4-somebody-elses", "not-ours")
def _():
    return udp4(dst=rng.choice(["10.9.0.77", "192.0.2.1", "8.8.8.8"]))


@kind("v4-multicast-nobody-joined", "not-ours", "not-unicast", "udp-no-socket")
def _():
    return udp4(dst=rng.choice(["224.0.0.9", "239.255.255.250"]), dport=CLOSED)


@kind("v4-tcp-to-broadcast", "not-unicast", "not-ours")
def _():
    return tcp4(dst=rng.choice(["255.255.255.255", "10.9.0.255", "224.0.0.1"]))


@kind("v4-smurf", "icmp-request-to-many")
def _():
    return echo(src4(), rng.choice(["10.9.0.255", "255.255.255.255"]), port(), 1, noise())


@kind("v6-martian-source", "martian-source")
def _():
    return udp6(src=rng.choice(["::1", "ff02::1", "ff0e::7", "::ffff:10.9.0.1"]))


@kind("v6-land", "martian-source")
def _():
    return tcp6(src=US6, sport=OPEN)


@kind("v6-martian-destination", "martian-destination", "not-ours")
def _():
    return udp6(dst=rng.choice(["::1", "::", "::ffff:10.9.0.2"]))


@kind("v6-somebody-elses", "not-ours")
def _():
    return udp6(dst=rng.choice(["fd09::77", "2001:db8::1"]))


# --- Fragments, by the names of the attacks.

def parts4(parts, payload=None, protocol=UDP):
    """Parts of one datagram, each (offset, length, more)."""
    src, ident = src4(), rng.randrange(65536)
    return [ipv4(src, US4, payload[at:at + size] if payload else rng.randbytes(size), protocol, ident=ident,
                 offset=at, mf=more) for at, size, more in parts]


def parts6(parts, payload=None, protocol=UDP):
    src, ident = src6(), rng.randrange(1 << 32)
    heads = [struct.pack("!BBHI", protocol, 0, at | more, ident) for at, _, more in parts]
    return [ipv6(src, US6, head + (payload[at:at + size] if payload else rng.randbytes(size)), 44)
            for head, (at, size, _) in zip(heads, parts)]


@kind("v4-teardrop", "fragment-overlap", "delivered")
def _():
    return parts4([(0, 40, True), (24, 8, False)])


@kind("v4-newtear-bonk-boink", "fragment-overlap", "delivered", "fragment-contradiction")
def _():
    return parts4([(0, 32, True), (rng.choice([8, 16, 24]), rng.choice([24, 32, 200]), rng.random() < 0.5)])


@kind("v4-nestea", "fragment-overlap", "delivered", "fragment-refused")
def _():
    return parts4([(0, 56, True), (48, 56, False), (0, 104, True)])


@kind("v4-syndrop", "fragment-overlap", "delivered")
def _():
    src = src4()
    return parts4([(0, 24, True), (16, 8, False)], tcp(src, US4, port(), OPEN, data=b"x" * 40), TCP)


@kind("v4-ping-of-death", "fragment-malformed", "delivered")
def _():
    return parts4([(0, 1480, True), (65528, rng.randrange(8, 1480), False)], protocol=ICMP)


@kind("v4-jolt", "fragment-malformed")
def _():
    return parts4([(rng.choice([65520, 65528]), 400, rng.random() < 0.5) for _ in range(3)], protocol=ICMP)


@kind("v4-rose", "delivered")
def _():
    return parts4([(0, 32, True), (rng.choice([32_000, 64_800]), 32, False)])


@kind("v4-fragmentsmack", "delivered")
def _():
    return parts4([(at, 8, True) for at in rng.sample(range(8, 4096, 8), 10)])


@kind("v4-tiny-first-fragment", "delivered", "tcp-malformed", "tcp-checksum")
def _():
    return parts4([(0, 8, True), (8, 32, False)], protocol=TCP)


@kind("v4-fragment-over-the-tcp-header", "fragment-overlap", "delivered")
def _():
    src = src4()
    return parts4([(0, 24, True), (8, 40, False)], tcp(src, US4, port(), OPEN, data=b"x" * 40), TCP)


@kind("v4-fragment-of-nothing", "fragment-malformed", "truncated")
def _():
    return parts4([(rng.choice([0, 8, 4096]), 0, rng.random() < 0.5)])


@kind("v4-fragment-length-no-multiple-of-8", "fragment-malformed")
def _():
    return parts4([(rng.choice([0, 8, 800]), rng.choice([1, 7, 9, 13, 100]), True)])


@kind("v4-fragment-with-two-ends", "fragment-contradiction", "delivered", "fragment-refused")
def _():
    return parts4([(800, 8, False), (1600, 8, False), (400, 8, False)])


@kind("v4-same-fragment-again-and-again", "fragment-duplicate", "delivered")
def _():
    return parts4([(8, 64, True)]) * 5


@kind("v6-teardrop", "fragment-overlap", "delivered")
def _():
    return parts6([(0, 40, True), (24, 8, False)])


@kind("v6-ping-of-death", "fragment-malformed", "delivered")
def _():
    return parts6([(0, 1400, True), (65528, rng.randrange(8, 1400), False)], protocol=ICMPV6)


@kind("v6-rose", "delivered")
def _():
    return parts6([(0, 32, True), (rng.choice([32_000, 64_800]), 32, False)])


@kind("v6-fragmentsmack", "delivered")
def _():
    return parts6([(at, 8, True) for at in rng.sample(range(8, 4096, 8), 10)])


@kind("v6-fragment-length-no-multiple-of-8", "fragment-malformed")
def _():
    return parts6([(rng.choice([0, 8, 800]), rng.choice([1, 7, 9, 13, 100]), True)])


@kind("v6-first-fragment-without-the-whole-chain", "fragment-headers")
def _():
    return parts6([(0, 8, True)], b"\x3c\x04" + bytes(62), 60)


@kind("v6-fragment-in-fragment", "delivered")
def _():
    inner = struct.pack("!BBHI", UDP, 0, 1, 5) + rng.randbytes(16)
    return ipv6(src6(), US6, struct.pack("!BBHI", 44, 0, 0, port()) + inner, 44)


@kind("v6-fragment-header-cut", "extension-header", "truncated")
def _():
    return ipv6(src6(), US6, struct.pack("!BBHI", UDP, 0, 1, 5)[:rng.randrange(8)], 44)


# --- The header of IPv6 and what extends it.

def options6(header, *options, then=UDP, data=None):
    """A packet with hop-by-hop (0) or destination (60) options."""
    body = b"".join(options)
    body += b"\0" * (-(len(body) + 2) % 8)
    src = src6()
    data = udp(src, US6, port(), OPEN, b"x") if data is None else data
    return ipv6(src, US6, bytes([then, (len(body) + 2) // 8 - 1]) + body + data, header)


@kind("v6-shorter-than-a-header", "truncated")
def _():
    return udp6()[:rng.randrange(1, 40)]


@kind("v6-payload-length-past-the-packet", "truncated")
def _():
    return udp6(length=rng.randrange(14, 65536))


@kind("v6-hop-by-hop-not-first", "extension-header")
def _():
    return options6(60, then=0, data=b"\x11\0\x01\x04\0\0\0\0" + noise())


@kind("v6-hop-by-hop-twice", "extension-header")
def _():
    return options6(0, then=0, data=b"\x11\0\x01\x04\0\0\0\0" + noise())


@kind("v6-chain-without-end", "extension-header")
def _():
    return ipv6(src6(), US6, (b"\x3c\0\x01\x04\0\0\0\0") * rng.randrange(30, 150), 60)


@kind("v6-option-past-its-header", "extension-header")
def _():
    return options6(rng.choice([0, 60]), bytes([0x1E, rng.randrange(8, 256), 0, 0]))


@kind("v6-extension-header-past-the-packet", "extension-header", "truncated")
def _():
    return ipv6(src6(), US6, bytes([UDP, rng.randrange(2, 256)]) + bytes(6), rng.choice([0, 43, 60]))


@kind("v6-unknown-option-to-be-discarded", "extension-header")
def _():
    return options6(rng.choice([0, 60]), bytes([rng.choice([0x40, 0x80, 0xC0]) | rng.randrange(0x11, 0x20), 0]))


@kind("v6-jumbo-payload", "extension-header", "ip-length", "truncated")
def _():
    packet = bytearray(options6(0, b"\xc2\x04" + struct.pack("!I", rng.choice([0, 100, 65535, 65536, 1 << 31]))))
    packet[4:6] = b"\0\0"
    return bytes(packet)


@kind("v6-routing-header-type-0", "source-routed")
def _():
    return ipv6(src6(), US6, bytes([UDP, 2, 0, 1]) + bytes(4) + ip("fd09::1") + noise(), 43)


@kind("v6-routing-header-unknown", "source-routed", "extension-header")
def _():
    return ipv6(src6(), US6, bytes([UDP, 0, rng.choice([1, 77, 250]), rng.randrange(1, 256)]) + bytes(4) + noise(), 43)


@kind("v6-nothing-follows", "unknown-protocol", "delivered")
def _():
    return ipv6(src6(), US6, noise(), 59)


@kind("unknown-protocol", "unknown-protocol")
def _():
    protocol = rng.choice([2, 4, 41, 47, 50, 51, 89, 99, 132, 253, 254])
    if protocol in (50, 51):
        return ipv4(src4(), US4, noise(), protocol)
    return either(lambda: ipv4(src4(), US4, noise(), protocol), lambda: ipv6(src6(), US6, noise(), protocol))


# --- ICMP.

ICMP_REASONS = ("icmp-ignored", "icmp-unrelated", "icmp-malformed", "icmp-deprecated", "icmp-redirect",
                "icmp-discovery", "icmp-groups", "icmp-request-to-many", "ping-no-socket", "delivered")


@kind("icmp-checksum", "icmp-checksum")
def _():
    return either(lambda: ipv4(src4(), US4, icmp(8, 0, sum=0x1234), ICMP),
                  lambda: (lambda src: ipv6(src, US6, icmpv6(src, US6, 128, 0, sum=0x1234), ICMPV6))(src6()))


@kind("icmp-shorter-than-a-header", "icmp-malformed", "icmp-checksum")
def _():
    return either(lambda: ipv4(src4(), US4, rng.randbytes(rng.randrange(8)), ICMP),
                  lambda: ipv6(src6(), US6, rng.randbytes(rng.randrange(4)), ICMPV6))


@kind("icmp-every-type-and-code", *ICMP_REASONS)
def _():
    number = rng.choice([kind for kind in range(256) if kind != 8])
    return ipv4(src4(), US4, icmp(number, rng.randrange(256), rng.randbytes(4), noise(80)), ICMP)


@kind("icmpv6-every-type-and-code", *ICMP_REASONS)
def _():
    src, number = src6(), rng.choice([kind for kind in range(256) if kind != 128])
    return ipv6(src, US6, icmpv6(src, US6, number, rng.randrange(256), rng.randbytes(4), noise(80)), ICMPV6,
                hops=rng.choice([64, 255]))


@kind("icmp-error-about-what-was-never-sent", "icmp-unrelated", "icmp-ignored")
def _():
    quoted = ipv4(US4, src4(), rng.randbytes(8), rng.choice([TCP, UDP, ICMP, 99]))
    return ipv4(src4(), US4, icmp(rng.choice([3, 11, 12]), rng.randrange(16), struct.pack("!HH", 0, rng.randrange(1500)),
                                  quoted), ICMP)


@kind("icmpv6-error-about-what-was-never-sent", "icmp-unrelated", "icmp-ignored")
def _():
    src, quoted = src6(), ipv6(US6, src6(), rng.randbytes(16), rng.choice([TCP, UDP, ICMPV6, 99]))
    return ipv6(src, US6, icmpv6(src, US6, rng.choice([1, 2, 3, 4]), rng.randrange(8),
                                 struct.pack("!I", rng.randrange(1500)), quoted), ICMPV6)


@kind("icmp-error-about-noise", "icmp-malformed", "icmp-unrelated", "icmp-ignored", "icmp-deprecated", "icmp-redirect")
def _():
    return ipv4(src4(), US4, icmp(rng.choice([3, 4, 5, 11, 12]), rng.randrange(16), rng.randbytes(4), noise(40)), ICMP)


@kind("icmp-redirect", "icmp-redirect")
def _():
    quoted = ipv4(US4, "10.9.0.1", rng.randbytes(8), UDP)
    return ipv4("10.9.0.1", US4, icmp(5, rng.randrange(4), ip(src4()), quoted), ICMP)


@kind("icmpv6-neighbours-and-routers", "icmp-discovery", "icmp-redirect")
def _():
    src = rng.choice(["fe80::1", src6()])
    body = rng.randbytes(16) + bytes([rng.randrange(1, 6), rng.choice([0, 1, 255])]) + rng.randbytes(6)
    return ipv6(src, US6, icmpv6(src, US6, rng.choice([133, 134, 135, 136, 137]), 0, rng.randbytes(4), body), ICMPV6,
                hops=255)


# --- UDP.

@kind("udp-shorter-than-a-header", "udp-malformed", "truncated")
def _():
    return either(lambda: ipv4(src4(), US4, rng.randbytes(rng.randrange(8))),
                  lambda: ipv6(src6(), US6, rng.randbytes(rng.randrange(8))))


@kind("udp-length", "udp-malformed")
def _():
    length = rng.choice([*range(8), 60, 1500, 65535])
    four, six = src4(), src6()
    return either(lambda: ipv4(four, US4, udp(four, US4, port(), OPEN, b"hello", length=length)),
                  lambda: ipv6(six, US6, udp(six, US6, port(), OPEN, b"hello", length=length)))


@kind("udp-checksum", "udp-checksum")
def _():
    four, six = src4(), src6()
    return either(lambda: ipv4(four, US4, udp(four, US4, port(), OPEN, noise(), sum=0x0101)),
                  lambda: ipv6(six, US6, udp(six, US6, port(), OPEN, noise(), sum=rng.choice([0, 0x0101]))))


@kind("udp-closed-port", "udp-no-socket")
def _():
    return either(lambda: udp4(noise(), CLOSED), lambda: udp6(noise(), CLOSED))


# --- TCP.

@kind("tcp-shorter-than-a-header", "tcp-malformed", "truncated", "tcp-checksum")
def _():
    return either(lambda: ipv4(src4(), US4, rng.randbytes(rng.randrange(20)), TCP),
                  lambda: ipv6(src6(), US6, rng.randbytes(rng.randrange(20)), TCP))


@kind("tcp-checksum", "tcp-checksum")
def _():
    return either(lambda: tcp4(sum=0x0101, data=noise()), lambda: tcp6(sum=0x0101, data=noise()))


@kind("tcp-data-offset", "tcp-malformed")
def _():
    offset = rng.choice([0, 1, 2, 3, 4, 13, 14, 15])
    return either(lambda: tcp4(offset=offset), lambda: tcp6(offset=offset))


@kind("tcp-option-length", "tcp-option", "tcp-malformed")
def _():
    options = bytes([rng.choice([2, 3, 4, 5, 8, 30, 254]), rng.choice([0, 1, 200])]) + rng.randbytes(6)
    return either(lambda: tcp4(options=options, dport=OPEN), lambda: tcp6(options=options, dport=OPEN))


@kind("tcp-port-0", "tcp-malformed", "tcp-no-socket")
def _():
    return either(lambda: tcp4(dport=0), lambda: tcp6(dport=0))


@kind("tcp-flags-null-xmas-syn-fin", "tcp-unexpected", "tcp-no-socket", "tcp-malformed")
def _():
    flags = rng.choice([0, 0x01, 0x29, 0x08, 0x20, 0x03, 0x06, 0x07, 0x3F, 0xFF])
    return either(lambda: tcp4(flags=flags, dport=CLOSED), lambda: tcp6(flags=flags, dport=CLOSED))


@kind("tcp-every-flag-to-an-open-port", "tcp-unexpected", "tcp-no-socket", "tcp-malformed", "delivered",
      "tcp-syn-queue-full", "tcp-bad-ack", "tcp-out-of-window", "tcp-challenged", "tcp-option")
def _():
    flags = rng.choice([flags for flags in range(256) if flags & 0x16 != 0x02])
    fields = dict(flags=flags, seq=rng.randrange(1 << 32), ack=rng.randrange(1 << 32), data=noise(),
                  urgent=rng.randrange(65536), reserved=rng.randrange(16), window=rng.choice([0, 1, 65535]))
    return either(lambda: tcp4(**fields), lambda: tcp6(**fields))


@kind("tcp-data-for-a-closed-port", "tcp-no-socket")
def _():
    return either(lambda: tcp4(flags=0x18, dport=CLOSED, data=noise()),
                  lambda: tcp6(flags=0x18, dport=CLOSED, data=noise()))


# --- Of every kind that scapy can think of, and plain noise.

def scapy_kinds():
    import logging
    logging.getLogger("scapy").setLevel(logging.ERROR)
    from scapy.packet import Raw, fuzz
    from scapy.volatile import RandBin  # noqa: F401, so that fuzz() has it
    from scapy.layers.inet import ICMP as Icmp, IP, TCP as Tcp, UDP as Udp
    from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6PacketTooBig, IPv6,
                                    IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
    four, six = IP(src=NET4 + "200", dst=US4), IPv6(src=NET6 + "200", dst=US6)
    templates = {
        "ip": fuzz(IP(dst=US4, src=NET4 + "201")) / Raw(b"x" * 40),
        "tcp": four / fuzz(Tcp(dport=OPEN)),
        "udp": four / fuzz(Udp()) / Raw(b"x" * 40),
        "icmp": four / fuzz(Icmp()) / Raw(b"x" * 40),
        "ipv6": fuzz(IPv6(dst=US6, src=NET6 + "201")) / Raw(b"x" * 40),
        "ipv6-tcp": six / fuzz(Tcp(dport=OPEN)),
        "ipv6-udp": six / fuzz(Udp()) / Raw(b"x" * 40),
        "ipv6-hop-by-hop": six / fuzz(IPv6ExtHdrHopByHop()) / Raw(b"x" * 40),
        "ipv6-destination-options": six / fuzz(IPv6ExtHdrDestOpt()) / Raw(b"x" * 40),
        "ipv6-routing": six / fuzz(IPv6ExtHdrRouting()) / Raw(b"x" * 40),
        "ipv6-fragment": six / fuzz(IPv6ExtHdrFragment()) / Raw(b"x" * 40),
        "icmpv6-echo": six / fuzz(ICMPv6EchoRequest()),
        "icmpv6-unreachable": six / fuzz(ICMPv6DestUnreach()) / Raw(b"x" * 40),
        "icmpv6-too-big": six / fuzz(ICMPv6PacketTooBig()) / Raw(b"x" * 40),
        "icmpv6-neighbour": six / fuzz(ICMPv6ND_NA()),
    }
    for name, template in templates.items():
        def make(template=template):
            # Scapy draws from the global source of randomness.
            for _ in range(20):
                try:
                    return bytes(template)
                except Exception:  # A value drawn may not fit its field.
                    continue
            return bytes(four)
        kind(f"scapy-{name}", *ANY)(make)


@kind("noise", *ANY)
def _():
    return noise(200, 1)


@kind("bits-turned-in-honest-packets", *ANY)
def _():
    packet = bytearray(rng.choice([udp4, udp6, tcp4, tcp6])())
    for _ in range(rng.randrange(1, 9)):
        packet[rng.randrange(len(packet))] ^= 1 << rng.randrange(8)
    return bytes(packet)


@kind("honest-packets-cut", *ANY)
def _():
    packet = rng.choice([udp4, udp6, tcp4, tcp6])()
    return packet[:rng.randrange(1, len(packet))]


BATCH = 100
PINGER = NET4 + "99"
pings = 0


def settle(wire):
    """Waits until the stack has seen all that was sent."""
    global pings
    pings += 1
    question = echo(PINGER, STACK, 0xBEEF, pings & 0xFFFF)
    for _ in range(3):
        wire.send(question)
        for packet in wire.received(3):
            if packet[20] == 0 and packet[24:28] == struct.pack("!HH", 0xBEEF, pings & 0xFFFF):
                return
    sys.exit("the stack does not answer any more")


def obey(wire, name, count, seed):
    global rng
    # A seed of its own for each kind: the same names of fragments would meet in the stack.
    rng = random.Random(f"{seed} {name}")
    random.seed(seed)
    names = [name] if name != "all" else list(KINDS)
    sent = batches = 0
    pending = []
    while sent < count:
        if not pending:
            packets = KINDS[rng.choice(names)][0]()
            pending = list(packets) if isinstance(packets, list) else [packets]
        wire.send(pending.pop(0))
        sent += 1
        if sent % BATCH == 0 or sent == count:
            settle(wire)
            batches += 1
    print(f"sent {sent} asked {batches}", flush=True)


def main():
    wire = Wire(*sys.argv[1:3])
    wire.only_icmp_to(PINGER)
    scapy_kinds()
    for name, (_, reasons) in KINDS.items():
        print(name, *reasons)
    print("ready", flush=True)
    for line in sys.stdin:
        name, count, seed = line.split()
        obey(wire, name, int(count), int(seed))


main()
