"""The wire between tester and target: a TUN device, whoever is at which end of it.

A stack in user space reads what the kernel sends out by the device; the kernel, as a target, receives what a
program writes to it. Either way a packet socket sees everything that passes, with the kernel's time of it, and
which way it went. What passes as a super-segment, or without a checksum, is seen as a wire would carry it.
"""

import errno
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import cached_property

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from .unfinished import finish

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_TIMESTAMPNS = 35
SOL_PACKET = 263
PACKET_VNET_HDR = 15
SO_RCVBUFFORCE = 33
BUFFER = 16 << 20

TESTER, TARGET = "tester", "target"


@dataclass
class Seen:
    """A packet that was on the wire."""

    at: float  # seconds since the epoch, by the kernel's clock
    sender: str  # TESTER or TARGET
    bytes: bytes

    @cached_property
    def packet(self):
        """The same, dissected by scapy."""
        return dissect(self.bytes)

    def __str__(self):
        return self.packet.summary()


def dissect(data):
    """A scapy packet of an IP datagram; raw bytes where it is none."""
    version = data[0] >> 4 if data else 0
    layer = {4: IP, 6: IPv6}.get(version, Raw)
    try:
        return layer(data)
    except Exception:  # scapy raises all kinds of errors at what is shorter than it says
        return Raw(data)


class Wire:
    """The tester's end of a TUN device.

    `descriptor` is what the tester writes to where it is the program behind the device; without one it sends
    by a packet socket, as the kernel at the other end would.
    """

    def __init__(self, device, descriptor=None):
        self.device = device
        self.descriptor = descriptor
        self.history = []
        # Not the same socket: none sees what it has sent itself.
        self.tap = packet_socket(device, socket.SOCK_RAW)
        self.tap.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        # Packets that were seen as one and have not been asked for.
        self.cut = deque()
        enlarge(self.tap)
        self.tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if descriptor is None:
            self.out = packet_socket(device, socket.SOCK_DGRAM)
        else:
            threading.Thread(target=drain, args=(descriptor,), daemon=True).start()

    def send(self, packet):
        """Puts a packet on the wire: scapy's, or bytes."""
        data = bytes(packet)
        if self.descriptor is not None:
            try:
                os.write(self.descriptor, data)
            except OSError as error:
                # The kernel's TUN device itself takes nothing that is of another version.
                if error.errno != errno.EINVAL or data and data[0] >> 4 in (4, 6):
                    raise
            return
        # A TUN device has no use for the protocol, but a packet socket wants one.
        protocol = 0x86DD if data and data[0] >> 4 == 6 else 0x0800
        self.out.sendto(data, (self.device, protocol))

    def receive(self, until):
        """The next packet that the target has sent; `None` if there is none before `until` (time.monotonic)."""
        while True:
            left = until - time.monotonic()
            if not self.cut and not select.select([self.tap], [], [], max(left, 0))[0]:
                return None
            seen = self.read()
            if seen.sender == TARGET:
                return seen

    def read(self):
        if not self.cut:
            data, control, _, address = self.tap.recvmsg(1 << 17, 64)
            was_outgoing = address[2] == PACKET_OUTGOING
            by_tester = was_outgoing if self.descriptor is None else not was_outgoing
            sender = TESTER if by_tester else TARGET
            self.cut.extend(Seen(stamp_of(control), sender, packet) for packet in finish(data))
        seen = self.cut.popleft()
        self.history.append(seen)
        return seen

    def rest(self):
        """Reads what is there without waiting, so that the history is whole."""
        while self.cut or select.select([self.tap], [], [], 0)[0]:
            self.read()

    def save(self, path):
        """Writes the history as a capture (pcap, raw IP)."""
        with open(path, "wb") as file:
            # Magic number for nanoseconds, version 2.4, snapshot length, link type 101: raw IP.
            file.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 17, 101))
            for seen in self.history:
                nanoseconds = int(seen.at * 1e9)
                length = len(seen.bytes)
                file.write(struct.pack("=IIII", nanoseconds // 10**9, nanoseconds % 10**9, length, length))
                file.write(seen.bytes)

    def close(self):
        """Lets go of the device."""
        self.tap.close()
        if self.descriptor is None:
            self.out.close()


def packet_socket(device, kind):
    opened = socket.socket(socket.AF_PACKET, kind, 0)
    opened.bind((device, ETH_P_ALL))
    return opened


def enlarge(tap):
    """Lets a socket keep what comes while the tester is busy: as much as it may."""
    try:
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:  # it takes privilege on the machine, not only in the namespace
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


def stamp_of(control):
    """When the kernel saw a packet, by the message that came with it."""
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) == 16:
            seconds, nanoseconds = struct.unpack("qq", data)
            return seconds + nanoseconds / 1e9
    return time.time()


def drain(descriptor):
    """Takes in what the kernel sends, which the tap has seen already: or the device's queue would be full."""
    try:
        while os.read(descriptor, 1 << 17):
            pass
    except OSError:
        pass
