"""Packets that are none of a wire's yet, made into what a wire carries.

A stack may hand its device a super-segment, or a burst of datagrams in one, and leave checksums to it: what passes then holds only
the sum of the pseudo-header, and is cut later. A packet socket tells so (PACKET_VNET_HDR), in a `virtio_net_hdr` before each packet.
"""

import struct

# Flags, kind, length of all headers, size of a segment's text, where the sum begins and where in there it is stored.
HEADER = struct.Struct("=BBHHHH")
NEEDS_CHECKSUM = 1
SINGLE, TCP_OVER_IPV4, TCP_OVER_IPV6, UDP, WITH_ECN = 0, 1, 4, 5, 0x80
PROTOCOL_TCP, PROTOCOL_UDP = 6, 17
UDP_HEADER_LEN = 8
FIN, PSH, CWR = 0x01, 0x08, 0x80


def finish(data):
    """The packets that a wire would carry of one that comes behind its header."""
    flags, kind, _, size, start, offset = HEADER.unpack_from(data)
    packet = data[HEADER.size:]
    kind &= ~WITH_ECN
    if kind == SINGLE:
        return [summed(packet, start, offset) if flags & NEEDS_CHECKSUM else packet]
    if kind == UDP:
        return cut_datagram(packet, start, offset, size)
    if kind not in (TCP_OVER_IPV4, TCP_OVER_IPV6):
        raise ValueError(f"a super-packet of kind {kind}: only those of TCP and UDP can be cut here")
    return cut(packet, start, offset, size)


def cut(packet, start, offset, size):
    """The segments that a super-segment stands for; its TCP header lies at `start`."""
    text_at = start + (packet[start + 12] >> 4) * 4
    headers, text = packet[:text_at], packet[text_at:]
    pieces = [text[at:at + size] for at in range(0, len(text), size)]
    segments = []
    for index, piece in enumerate(pieces):
        segment = bytearray(headers + piece)
        seq, = struct.unpack_from("!I", segment, start + 4)
        struct.pack_into("!I", segment, start + 4, (seq + index * size) % (1 << 32))
        if index + 1 < len(pieces):
            segment[start + 13] &= ~(FIN | PSH) & 0xFF
        if index > 0:
            segment[start + 13] &= ~CWR & 0xFF
        set_length(segment, start, index)
        segments.append(summed_afresh(segment, start, offset, PROTOCOL_TCP))
    return segments


def cut_datagram(packet, start, offset, size):
    """The datagrams that a super-datagram stands for; its UDP header lies at `start`."""
    text_at = start + UDP_HEADER_LEN
    headers, text = packet[:text_at], packet[text_at:]
    datagrams = []
    for index, at in enumerate(range(0, len(text), size)):
        datagram = bytearray(headers + text[at:at + size])
        struct.pack_into("!H", datagram, start + 4, len(datagram) - start)
        set_length(datagram, start, index)
        datagrams.append(summed_afresh(datagram, start, offset, PROTOCOL_UDP))
    return datagrams


def set_length(packet, start, index):
    """Makes the IP header that of the packet with this index, whose transport header lies at `start`."""
    if packet[0] >> 4 == 6:
        struct.pack_into("!H", packet, 4, len(packet) - 40)
        return
    ident, = struct.unpack_from("!H", packet, 4)
    struct.pack_into("!HH", packet, 2, len(packet), (ident + index) & 0xFFFF)
    struct.pack_into("!H", packet, 10, 0)
    ihl = (packet[0] & 15) * 4
    struct.pack_into("!H", packet, 10, folded(packet[:ihl]) ^ 0xFFFF)


def summed_afresh(packet, start, offset, protocol):
    """The packet with its checksum: the sum that is there is of a pseudo-header with the length of all."""
    struct.pack_into("!H", packet, start + offset, folded(pseudo_header(packet, start, protocol)))
    return summed(packet, start, offset)


def pseudo_header(packet, start, protocol):
    """What a transport's checksum covers beside the transport itself."""
    is_v6 = packet[0] >> 4 == 6
    addresses = packet[8:40] if is_v6 else packet[12:20]
    return bytes(addresses) + struct.pack("!IBBBB", len(packet) - start, 0, 0, 0, protocol)


def summed(packet, start, offset):
    """The packet with its checksum completed: what stands there is a part of it. One of zero is stored as its other form (RFC 768)."""
    packet = bytearray(packet)
    struct.pack_into("!H", packet, start + offset, (folded(packet[start:]) ^ 0xFFFF) or 0xFFFF)
    return bytes(packet)


def folded(data):
    """The sum of 16-bit words in ones' complement (RFC 1071)."""
    data = bytes(data) + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
