"""Floods the stack with fragments that never become whole, or SYNs that nothing follows, from addresses that nobody has, and
tells after how many.

Arguments: the device, the name of a flood, how many packets. The stack is 10.9.0.2 and fd09::2. Between bursts it
waits for the answer to a ping, so that the stack has to judge them all.
"""

import itertools
import random
import sys

from wire import *

US4, US6, PINGER = "10.9.0.2", "fd09::2", "10.9.0.99"
rng = random.Random(7)


def large4(number):
    """First fragments that fill a packet, each of another datagram."""
    return ipv4(f"10.9.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}", US4, bytes(1480), ident=number & 0xFFFF, mf=True)


def large6(number):
    head = struct.pack("!BBHI", UDP, 0, 1, number)
    return ipv6(f"fd09::{rng.randrange(0x100, 0xFFFF):x}", US6, head + bytes(1400), 44)


def tiny4(number):
    """The smallest parts, each far from the last: FragmentSmack, where every part made the kernel walk all others."""
    return ipv4("10.9.0.50", US4, bytes(8), ident=number // 2000, mf=True, offset=(number * 2654435761 % 8000) * 8)


def tiny6(number):
    head = struct.pack("!BBHI", UDP, 0, (number * 2654435761 % 8000) * 8 | 1, number // 2000)
    return ipv6("fd09::50", US6, head + bytes(8), 44)


def rose(number):
    """The two ends of datagrams of 64 KiB."""
    end = number % 2
    return ipv4("10.9.0.51", US4, bytes(32), ident=number // 2 & 0xFFFF, mf=not end, offset=64_800 if end else 0)


def growing(number):
    """Datagrams that grow to 64 KiB but for one part."""
    part = number % 44 + 1
    return ipv4(f"10.9.1.{number // 44 % 250}", US4, bytes(1480), ident=number // 11_000, mf=part < 44, offset=part * 1480)


def overlapping(number):
    return ipv4("10.9.0.52", US4, bytes(16), ident=number // 2 & 0xFFFF, mf=True, offset=number % 2 * 8)


def syns(number):
    """Connections that nobody means, to port 8888."""
    peer = f"10.9.0.{number % 200 + 3}"
    offer = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + struct.pack("!II", number, 0) + b"\x01\x03\x03\x07"
    seq = rng.randrange(1 << 32)
    return ipv4(peer, US4, tcp(peer, US4, 1024 + number // 200, 8888, seq=seq, options=offer), TCP)


def main():
    wire = Wire("self", sys.argv[1])
    wire.only_icmp_to(PINGER)
    flood, count = globals()[sys.argv[2]], int(sys.argv[3])
    for burst in range(0, count, 200):
        for packet in map(flood, range(burst, min(burst + 200, count))):
            wire.send(packet)
        for attempt in range(3):
            wire.send(echo(PINGER, US4, 0xF1, burst & 0xFFFF))
            if any(packet[20] == 0 for packet in itertools.islice(wire.received(3), 1)):
                break
        else:
            sys.exit(f"no answer after {burst} packets")
    print(f"sent {count}")


main()
