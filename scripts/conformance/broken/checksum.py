"""The checksum of UDP and TCP: over a pseudo header, too, so that what was led astray is noticed."""

import socket
import struct

from scapy.utils import checksum


def transport_checksum(datagram, data):
    """0 if what a datagram carries has come whole (RFC 9293 section 3.1)."""
    pseudo = struct.pack("!4s4sBBH", socket.inet_aton(datagram.src), socket.inet_aton(datagram.dst), 0, datagram.proto, len(data))
    return checksum(pseudo + data)
