"""Whether the captures are read for what they say: pytest scripts/recovery."""

import struct

import captures
from captures import Segment

A, B = "10.0.0.1", "10.9.0.2"
MSS = 1000


def data(at, start, end):
    return Segment(at, True, start, end, 0, ())


def ack(at, to, *sacks):
    return Segment(at, False, 0, 0, to, sacks)


def test_what_was_lost_had_to_be_sent_again():
    sent = [data(0.0, 0, 2000), data(0.2, 0, 1000)]
    arrived = [data(0.01, 1000, 2000), data(0.21, 0, 1000)]
    assert captures.copies(sent, arrived, 2000) == (1000, 0, 1000)


def test_what_had_arrived_when_it_was_sent_again_was_needless_even_if_the_second_was_lost():
    sent = [data(0.0, 0, 1000), data(0.2, 0, 1000)]
    assert captures.copies(sent, [data(0.1, 0, 1000)], 1000) == (1000, 1000, 1000)


def test_what_was_only_late_was_needless():
    sent = [data(0.0, 0, 1000), data(0.05, 0, 1000)]
    arrived = [data(0.1, 0, 1000), data(0.15, 0, 1000)]
    assert captures.copies(sent, arrived, 1000) == (1000, 1000, 0)


def test_each_of_several_is_counted_once():
    # The first is lost, the second is needed, the third arrives for nothing and the fourth is lost on its way to nothing.
    sent = [data(at, 0, 1000) for at in (0.0, 0.1, 0.3, 0.4)]
    arrived = [data(0.2, 0, 1000), data(0.35, 0, 1000)]
    assert captures.copies(sent, arrived, 1000) == (3000, 2000, 2000)


def test_part_of_a_segment_may_be_needless():
    sent = [data(0.0, 0, 3000), data(0.2, 500, 2500)]
    arrived = [data(0.1, 0, 1000), data(0.1, 2000, 3000), data(0.3, 500, 2500)]
    assert captures.copies(sent, arrived, 3000) == (2000, 1000, 1000)


def test_only_what_was_asked_for_counts():
    sent = [data(0.0, 0, 1000), data(0.1, 900, 1500), data(0.2, 1000, 1500)]
    assert captures.copies(sent, sent, 1000) == (100, 100, 0)


def test_a_stall_is_the_longest_time_without_progress():
    sent = [data(1.0, 0, 3000)]
    acks = [ack(1.1, 1000), ack(1.2, 1000, (2000, 3000)), ack(1.6, 2000), ack(1.7, 3000)]
    text, seconds, stall, stall_at = captures.progress(sent + acks, sent, 3000)
    assert (text, round(seconds, 6), round(stall, 6), round(stall_at, 6)) == (3000, 0.7, 0.5, 0.1)


def test_a_transfer_that_was_given_up_stalls_to_its_end():
    sent = [data(1.0, 0, 3000), data(9.0, 1000, 2000)]
    text, seconds, stall, stall_at = captures.progress([sent[0], ack(1.1, 1000), sent[1]], sent, 3000)
    assert (text, round(seconds, 6), round(stall, 6), round(stall_at, 6)) == (1000, 8.0, 7.9, 0.1)


def test_a_dsack_is_below_the_acknowledgement_or_within_the_second_block():
    assert captures.is_dsack(ack(0, 3000, (1000, 2000)))
    assert captures.is_dsack(ack(0, 3000, (5000, 6000), (4000, 6000)))
    assert not captures.is_dsack(ack(0, 3000, (4000, 5000)))
    assert not captures.is_dsack(ack(0, 3000, (5000, 6000), (4000, 4500)))
    assert not captures.is_dsack(ack(0, 3000))


def packet(source, destination, seq, ack_nr, flags, length=0, options=b""):
    address = lambda text: bytes(map(int, text.split(".")))
    header = 20 + len(options)
    ip = struct.pack("!BBHIBBH4s4s", 0x45, 0, 20 + header + length, 0, 64, 6, 0, address(source), address(destination))
    return ip + struct.pack("!HHIIBBHHH", 19, 7777, seq, ack_nr, header // 4 << 4, flags, 1000, 0, 0) + options


def test_positions_count_from_the_first_octet_over_the_end_of_the_sequence_space(tmp_path):
    iss = 2**32 - 500
    sack = b"\x01\x01\x05\x0a" + struct.pack("!II", (iss + 1001) % 2**32, (iss + 2001) % 2**32)
    packets = [
        packet(A, B, 7, 0, 2),
        packet(B, A, iss, 8, 0x12),
        packet(B, A, iss + 1, 8, 0x10, length=1000),
        packet(A, B, 8, iss + 1, 0x10, options=sack),
        packet(A, B, 8, (iss + 1001) % 2**32, 0x10),
    ]
    file = tmp_path / "some.pcap"
    header = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 128, 101)
    records = (struct.pack("<IIII", 5, n * 100_000, len(p), len(p)) + p for n, p in enumerate(packets))
    file.write_bytes(header + b"".join(records))
    segments = captures.read(file, B)
    assert [(s.of_sender, s.start, s.end, s.ack, s.sacks) for s in segments] == [
        (False, 0, 0, 0, ()),
        (True, 0, 0, 0, ()),
        (True, 0, 1000, 0, ()),
        (False, 0, 0, 0, ((1000, 2000),)),
        (False, 0, 0, 1000, ()),
    ]
    assert [round(s.at, 6) for s in segments] == [5.0, 5.1, 5.2, 5.3, 5.4]
