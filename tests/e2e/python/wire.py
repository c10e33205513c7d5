"""Raw packets on a device of any namespace: built byte by byte, sent as they are, and taken apart again."""

import ctypes
import ipaddress
import os
import select
import socket
import struct
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58


class Wire:
    """A device in the namespace of process `pid` ("self" for our own), as the host that has it sees it."""

    def __init__(self, pid, device):
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        libc = ctypes.CDLL(None, use_errno=True)
        for namespace, then in ((there, self._open), (here, lambda _: None)):
            if libc.setns(namespace, 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            then(device)
            os.close(namespace)

    def _open(self, device):
        self.device = device
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((device, ETH_P_ALL))

    def only_icmp_to(self, address):
        """From now on takes in ICMP over IPv4 to one address only; the kernel leaves the rest out (classic BPF)."""
        load_byte, load_word, equal, result = 0x30, 0x20, 0x15, 0x06
        program = [(load_byte, 0, 0, 9), (equal, 0, 3, ICMP), (load_word, 0, 0, 16),
                   (equal, 0, 1, int.from_bytes(ip(address), "big")), (result, 0, 0, 65536), (result, 0, 0, 0)]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
        filter = struct.pack("HL", len(program), ctypes.addressof(code))
        self.socket.setsockopt(socket.SOL_SOCKET, 26, filter)  # SO_ATTACH_FILTER

    def with_headers(self):
        """From now on each packet comes, and has to go, with a virtio_net_hdr before it: what is unfinished in it, for the
        kernel leaves checksums and segmentation to whoever comes last."""
        self.socket.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR

    def send(self, packet, header=b""):
        """Sends one packet; waits while the device's queue is full."""
        # What is neither goes as IPv4: the kernel asks for some protocol, and a TUN device ignores it.
        protocol = 0x86DD if packet and packet[0] >> 4 == 6 else 0x0800
        while True:
            try:
                return self.socket.sendto(header + packet, (self.device, protocol))
            except OSError as error:
                if error.errno != 105:  # ENOBUFS
                    raise
                time.sleep(0.0005)

    def received(self, seconds):
        """What comes in by the device, until it has been silent for so long."""
        while select.select([self.socket], [], [], seconds)[0]:
            packet, (_, _, kind, _, _) = self.socket.recvfrom(65536)
            if kind != PACKET_OUTGOING:
                yield packet


def ip(text):
    return ipaddress.ip_address(text).packed


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(src, dst, payload, protocol=UDP, ttl=64, ident=1, df=False, mf=False, offset=0, options=b"", tos=0,
         version=4, ihl=None, length=None, sum=None, reserved=False):
    """An IPv4 packet; `offset` is in bytes. What is given for the last fields stands there, right or not."""
    options += b"\0" * (-len(options) % 4)
    ihl = 5 + len(options) // 4 if ihl is None else ihl
    length = 20 + len(options) + len(payload) if length is None else length
    flags = offset // 8 | mf << 13 | df << 14 | reserved << 15
    head = struct.pack("!BBHHHBBH4s4s", version << 4 | ihl, tos, length, ident, flags, ttl, protocol, 0,
                       ip(src), ip(dst)) + options
    right = checksum(head)
    return head[:10] + struct.pack("!H", right if sum is None else sum) + head[12:] + payload


def ipv6(src, dst, payload, protocol=UDP, hops=64, length=None, version=6, tc=0, flow=0):
    """An IPv6 packet; extension headers are part of the payload."""
    length = len(payload) if length is None else length
    return struct.pack("!IHBB", version << 28 | tc << 20 | flow, length, protocol, hops) + ip(src) + ip(dst) + payload


def pseudo(src, dst, protocol, length):
    if ":" in src:
        return ip(src) + ip(dst) + struct.pack("!IHBB", length, 0, 0, protocol)
    return ip(src) + ip(dst) + struct.pack("!BBH", 0, protocol, length)


def udp(src, dst, sport, dport, data=b"", length=None, sum=None):
    """A UDP datagram with its checksum."""
    length = 8 + len(data) if length is None else length
    head = struct.pack("!HHHH", sport, dport, length, 0)
    right = checksum(pseudo(src, dst, UDP, 8 + len(data)) + head + data) or 0xFFFF
    return head[:6] + struct.pack("!H", right if sum is None else sum) + data


def tcp(src, dst, sport, dport, flags=2, seq=1, ack=0, data=b"", options=b"", offset=None, window=1024, sum=None,
        urgent=0, reserved=0):
    """A TCP segment with its checksum."""
    padded = options + b"\0" * (-len(options) % 4)
    offset = 5 + len(padded) // 4 if offset is None else offset
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset << 4 | reserved, flags, window, 0, urgent) + padded
    right = checksum(pseudo(src, dst, TCP, len(head) + len(data)) + head + data)
    return head[:16] + struct.pack("!H", right if sum is None else sum) + head[18:] + data


def icmp(kind, code, rest=b"\0\0\0\0", data=b"", sum=None):
    """An ICMP message for IPv4; `rest` are the four bytes after the checksum."""
    message = struct.pack("!BBH", kind, code, 0) + rest + data
    right = checksum(message)
    return message[:2] + struct.pack("!H", right if sum is None else sum) + message[4:]


def icmpv6(src, dst, kind, code, rest=b"\0\0\0\0", data=b"", sum=None):
    """An ICMP message for IPv6."""
    message = struct.pack("!BBH", kind, code, 0) + rest + data
    right = checksum(pseudo(src, dst, ICMPV6, len(message)) + message)
    return message[:2] + struct.pack("!H", right if sum is None else sum) + message[4:]


def echo(src, dst, ident, number, data=b"", **fields):
    """A whole packet with an echo request."""
    rest = struct.pack("!HH", ident, number)
    if ":" in src:
        return ipv6(src, dst, icmpv6(src, dst, 128, 0, rest, data), ICMPV6, **fields)
    return ipv4(src, dst, icmp(8, 0, rest, data), ICMP, **fields)


def fragments(src, dst, payload, size, protocol=UDP, ident=7, ttl=64):
    """An IPv4 payload in parts of `size` bytes, a multiple of 8."""
    for at in range(0, len(payload), size):
        yield ipv4(src, dst, payload[at:at + size], protocol, ttl, ident, offset=at, mf=at + size < len(payload))


def fragments6(src, dst, payload, size, protocol=UDP, ident=7, hops=64):
    """An IPv6 payload in parts of `size` bytes, a multiple of 8."""
    for at in range(0, len(payload), size):
        more = at + size < len(payload)
        head = struct.pack("!BBHI", protocol, 0, at | more, ident)
        yield ipv6(src, dst, head + payload[at:at + size], 44, hops)


class Seen:
    """A received packet, taken apart as far as tests ask."""

    def __init__(self, packet):
        self.packet = packet
        self.version = packet[0] >> 4
        if self.version == 4:
            self.head = (packet[0] & 15) * 4
            self.length, self.ident, flags = struct.unpack("!HHH", packet[2:8])
            self.tos, self.ttl, self.protocol = packet[1], packet[8], packet[9]
            self.df, self.mf, self.offset = flags >> 14 & 1, flags >> 13 & 1, (flags & 0x1FFF) * 8
            self.src, self.dst = (str(ipaddress.ip_address(packet[at:at + 4])) for at in (12, 16))
            self.options = packet[20:self.head]
            self.sum_right = checksum(packet[:self.head]) == 0
        else:
            self.head, self.length = 40, 40 + struct.unpack("!H", packet[4:6])[0]
            self.tos = struct.unpack("!H", packet[:2])[0] >> 4 & 255
            self.protocol, self.ttl = packet[6], packet[7]
            self.src, self.dst = (str(ipaddress.ip_address(packet[at:at + 16])) for at in (8, 24))
            self.df = self.mf = self.offset = 0
            self.options, self.sum_right = b"", True
            if self.protocol == 44 and len(packet) >= 48:
                word = struct.unpack("!H", packet[42:44])[0]
                self.ident = struct.unpack("!I", packet[44:48])[0]
                self.protocol, self.mf, self.offset, self.head = packet[40], word & 1, word & 0xFFF8, 48
        self.payload = packet[self.head:self.length]

    def is_error(self):
        """Whether it is an ICMP error, and so quotes a packet."""
        if self.offset or not self.payload:
            return False
        kind = self.payload[0]
        return self.protocol == ICMP and kind in (3, 4, 5, 11, 12) or self.protocol == ICMPV6 and kind < 128

    def quoted(self):
        return Seen(self.payload[8:])

    def transport_sum_right(self):
        if self.mf or self.offset or self.protocol not in (ICMP, TCP, UDP, ICMPV6):
            return True
        if self.protocol == ICMP:
            return checksum(self.payload) == 0
        return checksum(pseudo(self.src, self.dst, self.protocol, len(self.payload)) + self.payload) == 0
