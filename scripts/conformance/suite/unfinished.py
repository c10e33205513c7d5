"""Packets that are none of a wire's yet, made into what a wire carries.

A stack may hand its device a super-segment, and leave checksums to it: what passes then holds only the sum of the
pseudo-header, and is cut later. A packet socket tells so (PACKET_VNET_HDR), in a `virtio_net_hdr` before each packet.
"""

import struct

# Flags, kind, length of all headers, size of a segment's text, where the sum begins and where in there it is stored.
HEADER = struct.Struct("=BBHHHH")
NEEDS_CHECKSUM = 1
SINGLE, TCP_OVER_IPV4, TCP_OVER_IPV6, WITH_ECN = 0, 1, 4, 0x80
FIN, PSH, CWR = 0x01, 0x08, 0x80


def finish(data):
    """The packets that a wire would carry of one that comes behind its header."""
    flags, kind, _, size, start, offset = HEADER.unpack_from(data)
    packet = data[HEADER.size:]
    kind &= ~WITH_ECN
    if kind == SINGLE:
        return [summed(packet, start, offset) if flags & NEEDS_CHECKSUM else packet]
    if kind not in (TCP_OVER_IPV4, TCP_OVER_IPV6):
        raise ValueError(f"a super-packet of kind {kind}: only those of TCP can be cut here")
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
        # The sum that is there is of a pseudo-header with the length of all.
        struct.pack_into("!H", segment, start + offset, folded(pseudo_header(segment, start)))
        segments.append(summed(segment, start, offset))
    return segments


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


def pseudo_header(packet, start):
    """What a transport's checksum covers beside the transport itself."""
    is_v6 = packet[0] >> 4 == 6
    addresses = packet[8:40] if is_v6 else packet[12:20]
    return bytes(addresses) + struct.pack("!IBBBB", len(packet) - start, 0, 0, 0, 6)


def summed(packet, start, offset):
    """The packet with its checksum completed: what stands there is a part of it."""
    packet = bytearray(packet)
    struct.pack_into("!H", packet, start + offset, folded(packet[start:]) ^ 0xFFFF)
    return bytes(packet)


def folded(data):
    """The sum of 16-bit words in ones' complement (RFC 1071)."""
    data = bytes(data) + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
