#!/usr/bin/python3 -B
"""A TCP/IP stack in miniature, which --fault makes wrong in one way: attaches to a TUN device and is 10.9.0.2 there.

To be read from here on: `ip`, `icmp`, `udp`, `tcp`, `connection`, `sender`. Slow, and one thing after another; but without
a fault it is right. Every `faults.on(...)` is a place where it can be wrong; `faults` says what each means.
"""

import argparse
import os
import select
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.remove(str(Path(__file__).resolve().parent))  # where `ip` would be another `ip`

from broken import faults
from broken.icmp import Icmp
from broken.ip import Ip
from broken.tcp import Tcp
from broken.udp import Udp
from suite.namespace import attach


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tun", required=True)
    parser.add_argument("--fault", choices=faults.NAMES)
    arguments = parser.parse_args()
    faults.choose(arguments.fault)
    device = attach(arguments.tun)
    ip = Ip(lambda data: os.write(device, data))
    icmp = Icmp(ip)
    Udp(ip, icmp)
    run(device, ip, Tcp(ip, icmp))


def run(device, ip, tcp):
    """Takes what comes and what is due, for ever."""
    while True:
        deadlines = [at for at in (ip.deadline(), tcp.deadline()) if at is not None]
        left = min(deadlines, default=float("inf")) - time.monotonic()
        if select.select([device], [], [], min(max(left, 0), 10))[0]:
            ip.receive(os.read(device, 1 << 17))
        now = time.monotonic()
        ip.tick(now)
        tcp.tick(now)


if __name__ == "__main__":
    main()
