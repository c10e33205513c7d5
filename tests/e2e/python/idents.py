"""Asks a host for answers in turn from several addresses, and prints the IP ids of the answers: address and id a line.

Arguments: the device, the host's address. Asks with echo requests that don't fit one packet, so that the ids matter:
those of a packet that may not be cut need not say anything (RFC 6864).
"""

import sys

from wire import *

wire, target = Wire("self", sys.argv[1]), sys.argv[2]
sources = [f"10.9.0.{number}" for number in (101, 102, 103, 104)]
for number in range(8):
    for source in sources:
        request = echo(source, target, 0x1D, number, b"i" * 1600)
        for part in fragments(source, target, request[20:], 1480, ICMP, ident=0x100 + number):
            wire.send(part)
        for packet in wire.received(0.5):
            seen = Seen(packet)
            if seen.version == 4 and seen.dst == source and seen.offset:
                print(source, seen.ident)
                break
