"""IPv4: the header and its options (RFC 791, RFC 1122 section 3.2.1, RFC 1812 section 5.2.2).

Source routes are left out: RFC 1122 wants them, RFC 7126 sections 4.3 and 4.4 advise to drop them, and so it is done.
"""

import time

from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Raw
from scapy.utils import checksum

from suite.cases import case
from suite.errors import PROBLEM, PROTOCOL_UNREACHABLE, error_in
from suite.setting import CLOSED

UNASSIGNED = 253  # a protocol for experiments (RFC 3692)
RECORD_ROUTE, STREAM, SECURITY, TIMESTAMP, ROUTER_ALERT = 7, 136, 130, 68, 148
DAY_MS = 24 * 60 * 60 * 1000


def options(data):
    """Options as they are on the wire: `ip` fields for a packet of the tester's."""
    return dict(options=[Raw(data)])


def summed_over(packet, length, **fields):
    """A packet whose header's checksum is right if the header is so long."""
    for name, value in fields.items():
        setattr(packet, name, value)
    packet.chksum = 0
    data = bytes(packet)
    return data[:10] + checksum(data[:length]).to_bytes(2, "big") + data[12:]


def option_in(packet, kind):
    """An option of a header, whole; `None` if it has none of that kind."""
    data = packet.original[20:packet.ihl * 4]
    while data and data[0]:
        length = data[1] if data[0] != 1 else 1
        if data[0] == kind:
            return data[:length]
        data = data[length:]
    return None


def midnight_ms():
    """Milliseconds since midnight, universal time."""
    return int(time.time() * 1000) % DAY_MS


# The fixed header


@case("RFC1122 3.2.1.1 version")
def a_datagram_of_another_version_is_ignored(net):
    for version in (0, 3, 5, 6, 15):
        net.send(net.echo_request(ip=dict(version=version)))
    net.expect_nothing()
    net.is_alive()


@case("RFC1122 3.2.1.2 checksum")
def a_wrong_header_checksum_is_ignored(net):
    for chksum in (0, 0x1234, 0xFFFF):
        net.send(net.echo_request(ip=dict(chksum=chksum)))
    net.expect_nothing()
    net.is_alive()


@case("RFC1122 3.2.1.2 checksum")
def a_header_with_one_bit_turned_is_ignored(net):
    request = bytes(net.echo_request())
    # Not the version and the header's length, which have cases of their own.
    for bit in range(8, 160):
        turned = bytearray(request)
        turned[bit // 8] ^= 0x80 >> bit % 8
        net.send(bytes(turned))
    net.expect_nothing()
    net.is_alive()


@case("RFC1812 5.2.2 header length")
def a_header_shorter_than_20_octets_is_ignored(net):
    for ihl in range(5):
        # Whatever part of the header is summed, it is not for that that it is ignored.
        for length in (ihl * 4, 20):
            net.send(summed_over(net.echo_request(), length, ihl=ihl))
    net.expect_nothing()
    net.is_alive()


@case("RFC1812 5.2.2 total length and header")
def a_header_longer_than_its_datagram_is_ignored(net):
    for length in (20, 60):
        net.send(summed_over(net.echo_request(bytes(60)), length, ihl=15, len=28))
    net.expect_nothing()
    net.is_alive()


@case("RFC1812 5.2.2 total length")
def a_datagram_of_which_the_end_is_missing_is_ignored(net):
    for missing in (1, 8, 1000, 65_000):
        net.send(net.echo_request(ip=dict(len=36 + missing)))
    net.expect_nothing()
    net.is_alive()


@case("RFC1812 5.2.2 total length and header")
def a_total_length_shorter_than_the_header_is_ignored(net):
    for length in (0, 1, 19):
        net.send(net.echo_request(ip=dict(len=length)))
    net.expect_nothing()
    net.is_alive()


@case("RFC1812 5.2.2 link length")
def what_is_shorter_than_a_header_is_ignored(net):
    request = bytes(net.echo_request())
    for length in range(1, 20):
        net.send(request[:length])
    net.expect_nothing()
    net.is_alive()


@case("RFC791 3.1 total length")
def what_comes_behind_the_total_length_is_no_part_of_the_datagram(net):
    request = net.echo_request(b"abc")
    net.send(bytes(request) + b"padding")
    net.expect_reply(request, data=b"abc")


@case("RFC1122 3.2.1.7 receive")
def a_datagram_that_has_arrived_with_no_time_to_live_is_taken(net):
    for ttl in (0, 1):
        net.ping(ip=dict(ttl=ttl))


@case("RFC1122 3.2.1.7 send")
def what_is_sent_has_a_time_to_live_to_arrive_with(net):
    assert net.ping(ip=dict(ttl=0)).ttl > 0


@case("RFC1812 4.2.2.3 reserved flag")
def the_reserved_flag_is_no_reason_to_drop_a_datagram(net):
    net.ping(ip=dict(flags="evil"))


@case("RFC791 3.1 flags")
def a_datagram_that_may_not_be_cut_is_taken(net):
    net.ping(ip=dict(flags="DF"))


@case("RFC1122 3.2.1.6 receive")
def every_type_of_service_is_taken(net):
    for tos in (0x00, 0x10, 0x1C, 0xB8, 0xE0, 0xFF):
        net.ping(ip=dict(tos=tos))


@case("RFC791 3.1 header", "RFC1122 3.2.1.2 send")
def what_is_sent_has_a_header_that_holds(net):
    for length in (0, 1, 1000):
        reply = net.ping(bytes(length))
        assert (reply.version, reply.ihl, reply.len) == (4, 5, 28 + length) and len(reply.original) == reply.len
        assert checksum(reply.original[:20]) == 0 and not reply.flags.evil


@case("RFC791 3.1 datagrams of 576 octets")
def a_datagram_of_576_octets_is_taken(net):
    net.ping(bytes(576 - 28))


@case("RFC1122 3.2.2.1 protocol")
def a_protocol_that_nobody_speaks_is_unreachable(net):
    packet = net.ip(proto=UNASSIGNED) / Raw(b"what nobody understands")
    net.send(packet)
    net.expect_error(PROTOCOL_UNREACHABLE, packet)


# Addresses


def expect_no_answer_to(net, src):
    """Nothing that would be answered is, from this source."""
    net.send(net.echo_request(ip=dict(src=src)), net.udp(b"hello", ip=dict(src=src)),
             net.udp(b"hello", dport=CLOSED, ip=dict(src=src)))
    net.expect_nothing()
    net.is_alive()


@case("RFC1122 3.2.1.3 source")
def the_broadcast_address_is_no_source(net):
    expect_no_answer_to(net, "255.255.255.255")


@case("RFC1122 3.2.1.3 source",
      linux="without rp_filter it only looks whether a source is its own address (fib_validate_source)")
def the_broadcast_address_of_the_network_is_no_source(net):
    expect_no_answer_to(net, "10.9.0.255")


@case("RFC1122 3.2.1.3 source")
def a_multicast_address_is_no_source(net):
    for src in ("224.0.0.1", "239.255.255.250"):
        expect_no_answer_to(net, src)


@case("RFC1122 3.2.1.3 loopback")
def a_loopback_address_is_no_source_of_what_comes_by_a_wire(net):
    for src in ("127.0.0.1", "127.255.255.254"):
        expect_no_answer_to(net, src)


@case("RFC1122 3.2.1.3 source")
def no_address_is_no_source(net):
    expect_no_answer_to(net, "0.0.0.0")


@case("RFC1122 3.2.1.3 source")
def the_targets_own_address_is_no_source_of_what_comes_by_a_wire(net):
    net.send(net.udp(b"for ever", sport=7, ip=dict(src=net.target)))
    expect_no_answer_to(net, net.target)


@case("RFC1122 3.2.1.3 destination", "RFC1122 3.1 no gateway")
def what_is_for_another_host_is_ignored(net):
    for dst in (net.host(3), net.far):
        net.send(net.echo_request(ip=dict(dst=dst)), net.udp(b"hello", dport=CLOSED, ip=dict(dst=dst)))
    net.expect_nothing()
    net.is_alive()


@case("RFC1122 3.2.1.3 loopback")
def a_loopback_address_is_not_reached_from_outside(net):
    net.send(net.echo_request(ip=dict(dst="127.0.0.1")), net.udp(b"hello", ip=dict(dst="127.0.0.1")))
    net.expect_nothing()
    net.is_alive()


@case("RFC1122 3.2.2.6 source", "RFC1122 3.3.6 source")
def whoever_answers_a_broadcast_ping_does_it_by_its_own_address(net):
    # To answer it is allowed, and so is silence.
    for dst in ("255.255.255.255", "10.9.0.255", "224.0.0.1"):
        net.send(net.echo_request(ip=dict(dst=dst)))
    net.expect_nothing(where=lambda packet: packet.src != net.target)
    net.is_alive()


# Options


@case("RFC791 3.1 options")
def no_operation_and_the_end_of_options_are_options(net):
    for data in (b"\1\1\1\1", b"\0\0\0\0", b"\1\1\1\0", b"\1" * 40):
        net.ping(ip=options(data))


@case("RFC791 3.1 end of options")
def what_stands_behind_the_end_of_options_is_none(net):
    # A record route that would be wrong.
    net.ping(ip=options(bytes([0, RECORD_ROUTE, 3, 1])))


@case("RFC1122 3.2.1.8 unknown")
def unknown_options_are_ignored(net):
    for kind in (30, 94, 158, 222):  # for experiments (RFC 4727), with and without the flag to copy them
        net.ping(ip=options(bytes([kind, 4, 1, 2])))


@case("RFC1122 3.2.1.8 unknown")
def an_unknown_option_may_fill_all_of_the_header(net):
    net.ping(bytes(range(100)), ip=options(bytes([158, 40]) + bytes(38)))


@case("RFC1122 3.2.1.8 obsolete")
def a_stream_identifier_is_ignored(net):
    net.ping(ip=options(bytes([STREAM, 4, 0, 7])))


@case("RFC1122 3.2.1.8 unknown")
def a_router_alert_is_no_reason_to_drop_a_datagram(net):
    net.ping(ip=options(bytes([ROUTER_ALERT, 4, 0, 0])))


@case("RFC1122 3.2.1.8 unknown")
def an_option_does_not_hide_a_datagram_of_udp(net):
    packet = net.udp(b"hello", ip=options(bytes([158, 4, 0, 0])))
    net.send(packet)
    net.expect(UDP, sport=7, dport=packet.sport, where=lambda answer: bytes(answer[UDP].payload) == b"hello")


@case("RFC1122 3.2.2.6 record route")
def a_recorded_route_comes_back_with_the_target_in_it(net):
    route = bytes([RECORD_ROUTE, 15, 8]) + bytes([10, 9, 0, 1]) + bytes(8)
    recorded = option_in(net.ping(ip=options(route + b"\0")), RECORD_ROUTE)
    assert recorded is not None and len(recorded) == 15, recorded
    assert recorded[2] in (12, 16) and recorded[3:11] == bytes([10, 9, 0, 1, 10, 9, 0, 2]), recorded


@case("RFC791 3.1 record route full", "RFC1122 3.2.2.6 record route")
def a_record_of_the_route_that_is_full_is_left_alone(net):
    route = bytes([RECORD_ROUTE, 7, 8, 10, 9, 0, 1])
    assert option_in(net.ping(ip=options(route + b"\0")), RECORD_ROUTE) == route


@case("RFC1122 3.2.2.6 timestamp", "RFC1122 3.2.1.8 timestamp")
def timestamps_come_back_with_the_targets_in_it(net):
    stamps = bytes([TIMESTAMP, 12, 5, 0]) + bytes(8)
    stamped = option_in(net.ping(ip=options(stamps)), TIMESTAMP)
    assert stamped is not None and len(stamped) == 12 and stamped[2] in (9, 13), stamped
    assert is_now(stamped[4:8]), stamped


@case("RFC1122 3.2.2.6 timestamp", "RFC1122 3.2.1.8 timestamp")
def timestamps_with_addresses_come_back_with_the_targets_in_it(net):
    stamps = bytes([TIMESTAMP, 20, 5, 1]) + bytes(16)
    stamped = option_in(net.ping(ip=options(stamps)), TIMESTAMP)
    assert stamped is not None and stamped[2] in (13, 21) and stamped[4:8] == bytes([10, 9, 0, 2]), stamped
    assert is_now(stamped[8:12]), stamped


@case("RFC791 3.1 timestamp prespecified", "RFC1122 3.2.2.6 timestamp")
def a_timestamp_that_another_host_is_asked_for_is_left_to_it(net):
    stamps = bytes([TIMESTAMP, 12, 5, 3, 10, 9, 0, 1, 0, 0, 0, 0])
    assert option_in(net.ping(ip=options(stamps)), TIMESTAMP) == stamps


def is_now(stamp):
    """Whether it is about the time of day, or says itself that it is none (the highest bit)."""
    value = int.from_bytes(stamp, "big")
    behind = (midnight_ms() - value) % DAY_MS
    return bool(value >> 31) or min(behind, DAY_MS - behind) < 60_000


@case("RFC1122 3.2.2.5 parameter problem")
def an_option_longer_than_the_header_is_a_problem(net):
    packet = net.echo_request(ip=options(bytes([RECORD_ROUTE, 40, 4, 0])))
    net.send(packet)
    net.expect_error(PROBLEM, packet, pointer=range(20, 24))


@case("RFC1122 3.2.2.5 parameter problem")
def an_option_without_room_for_its_own_length_is_a_problem(net):
    for length in (0, 1):
        packet = net.echo_request(ip=options(bytes([1, RECORD_ROUTE, length, 1])))
        net.send(packet)
        net.expect_error(PROBLEM, packet, pointer=range(21, 24))


@case("RFC1122 3.2.2.5 parameter problem")
def a_record_of_the_route_that_points_into_itself_is_a_problem(net):
    packet = net.echo_request(ip=options(bytes([RECORD_ROUTE, 7, 3, 0, 0, 0, 0, 0])))
    net.send(packet)
    net.expect_error(PROBLEM, packet, pointer=range(20, 23))


@case("RFC1122 3.2.2.5 parameter problem")
def a_timestamp_that_points_into_itself_is_a_problem(net):
    packet = net.echo_request(ip=options(bytes([TIMESTAMP, 8, 4, 0, 0, 0, 0, 0])))
    net.send(packet)
    net.expect_error(PROBLEM, packet, pointer=range(20, 23))


@case("RFC791 3.1 timestamp overflow")
def timestamps_that_have_overflowed_15_times_are_a_problem_or_no_more_than_full(net):
    # The original datagram is considered to be in error, or the count stays: it never begins anew.
    request = net.echo_request(ip=options(bytes([TIMESTAMP, 8, 9, 0xF0, 0, 0, 0, 1])))
    net.send(request)
    answer = net.expect(ICMP, where=lambda packet: error_in(packet) or packet[ICMP].id == request[ICMP].id)
    stamps = option_in(answer, TIMESTAMP)
    assert error_in(answer) or stamps is None or stamps[3] == 0xF0, stamps
