"""What a wire would carry, against scapy, which sums and cuts nothing but knows what is right."""

import sys
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from suite import unfinished  # noqa: E402

TEXT = bytes(range(256)) * 20
FAMILIES = {
    "ipv4": (IP(src="10.0.0.1", dst="10.9.0.2", id=0xFFFE, flags="DF"), unfinished.TCP_OVER_IPV4, 20),
    "ipv6": (IPv6(src="fd00::1", dst="fd00::2"), unfinished.TCP_OVER_IPV6, 40),
}


def right(ip, **fields):
    """What scapy makes of a segment."""
    text = fields.pop("text")
    tcp = TCP(sport=7, dport=9, ack=5, options=[("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)], **fields)
    return bytes(ip / tcp / Raw(text))


def handed_over(whole, kind, start, size, protocol=unfinished.PROTOCOL_TCP):
    """The same with the pseudo-header's sum alone, behind the header that a packet socket gives it."""
    packet = bytearray(whole)
    offset, header_len = (16, 32) if protocol == unfinished.PROTOCOL_TCP else (6, 8)
    at = start + offset
    packet[at:at + 2] = unfinished.folded(unfinished.pseudo_header(packet, start, protocol)).to_bytes(2)
    flags = unfinished.NEEDS_CHECKSUM
    return unfinished.HEADER.pack(flags, kind, start + header_len, size, start, offset) + bytes(packet)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checksum_is_completed(family):
    ip, _, start = FAMILIES[family]
    whole = right(ip, seq=1, flags="PA", text=TEXT[:1001])
    assert unfinished.finish(handed_over(whole, unfinished.SINGLE, start, 0)) == [whole]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_needs_nothing_is_left_alone(family):
    ip, _, _ = FAMILIES[family]
    wrong = right(ip, seq=1, flags="A", chksum=0x1234, text=b"x")
    assert unfinished.finish(bytes(unfinished.HEADER.size) + wrong) == [wrong]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_super_segment_is_cut_and_fin_and_psh_go_with_the_last(family):
    ip, kind, start = FAMILIES[family]
    seq = (1 << 32) - 1500
    whole = right(ip, seq=seq, flags="FPA", text=TEXT[:2501])

    def expected(index, flags):
        part = ip.copy()
        if family == "ipv4":
            part.id = (ip.id + index) & 0xFFFF
        text = TEXT[index * 1000:min(index * 1000 + 1000, 2501)]
        return right(part, seq=(seq + index * 1000) % (1 << 32), flags=flags, text=text)

    came = unfinished.finish(handed_over(whole, kind | unfinished.WITH_ECN, start, 1000))
    assert came == [expected(0, "A"), expected(1, "A"), expected(2, "FPA")]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_super_datagram_is_cut_into_datagrams(family):
    ip, _, start = FAMILIES[family]
    udp = UDP(sport=7, dport=9)

    def expected(index):
        part = ip.copy()
        if family == "ipv4":
            part.id = (ip.id + index) & 0xFFFF
        return bytes(part / udp / Raw(TEXT[index * 1000:min(index * 1000 + 1000, 2501)]))

    whole = bytes(ip / udp / Raw(TEXT[:2501]))
    came = unfinished.finish(handed_over(whole, unfinished.UDP, start, 1000, unfinished.PROTOCOL_UDP))
    assert came == [expected(0), expected(1), expected(2)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checksum_of_zero_has_its_other_form(family):
    ip, _, start = FAMILIES[family]
    udp = UDP(sport=7, dport=9)
    # What makes the sum come out as zero is the checksum that there is without it.
    text = bytes(ip / udp / Raw(bytes(2)))[start + 6:start + 8]
    whole = bytes(ip / udp / Raw(text))
    assert whole[start + 6:start + 8] == b"\xff\xff"
    came = unfinished.finish(handed_over(whole, unfinished.SINGLE, start, 0, unfinished.PROTOCOL_UDP))
    assert came == [whole]


def test_others_are_refused():
    with pytest.raises(ValueError, match="kind 3"):
        unfinished.finish(unfinished.HEADER.pack(1, 3, 28, 100, 20, 6) + bytes(200))
