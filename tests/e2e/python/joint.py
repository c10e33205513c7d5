"""Joins pairs of TUN devices: what comes in by one goes out by the other. So two daemons are neighbours.

Arguments: devices of this namespace, two for each joint.
"""

import select
import sys

from wire import PACKET_OUTGOING, Wire

HEADER = 10  # virtio_net_hdr

wires = [Wire("self", device) for device in sys.argv[1:]]
for wire in wires:
    wire.with_headers()
others = {wire.socket: wires[number ^ 1] for number, wire in enumerate(wires)}
print("joined", flush=True)
while True:
    # Ends when standard input does.
    for ready in select.select([sys.stdin, *others], [], [])[0]:
        if ready is sys.stdin:
            sys.exit()
        packet, (_, _, kind, _, _) = ready.recvfrom(HEADER + 65536)
        if kind != PACKET_OUTGOING:
            others[ready].send(packet[HEADER:], packet[:HEADER])
