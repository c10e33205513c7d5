"""IPv6: the header and its extensions (RFC 8200, RFC 5095, RFC 4291).

Left out: routing headers of types that have an RFC of their own (2, 3, 4), and how many extension headers a host may
refuse (RFC 8504 section 5.3); a handful is no reason to.
"""

from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6ParamProblem, IPv6
from scapy.packet import Raw

from suite.cases import case
from suite.errors import PROBLEM, PROTOCOL_UNREACHABLE, UNKNOWN_OPTION
from suite.fragments import payload
from suite.setting import CLOSED, IPV6

V6 = (IPV6,)
HOP_BY_HOP, ROUTING, FRAGMENT, NONE, DESTINATION = 0, 43, 44, 59, 60
UNASSIGNED = 253  # a protocol and a routing type for experiments (RFC 3692)
# Options for experiments (RFC 4727): what is to be done by who does not know them is said by the highest two bits.
SKIP, DISCARD, COMPLAIN, COMPLAIN_TO_ONE = 0x1E, 0x5E, 0x9E, 0xDE
JUMBO, ROUTER_ALERT = 0xC2, 0x05
ALL_NODES = "ff02::1"
PAD = bytes([1, 4, 0, 0, 0, 0])  # all that a header of 8 octets has room for
NEXT_HEADER, FIXED = 6, 40  # octets of the header


def option(kind):
    """Options that fill a header of 8 octets: one, and padding."""
    return bytes([kind, 2, 0xAB, 0xCD, 1, 0])


def extended(packet, *headers, **fields):
    """A packet with extension headers: kind and all that follows the octets of next header and length, for each."""
    kinds = [kind for kind, _ in headers] + [IPv6(bytes(packet)).nh]
    data = b"".join(bytes([following, (len(rest) - 6) // 8]) + rest for following, (_, rest) in zip(kinds[1:], headers))
    ip = dict(src=packet.src, dst=packet.dst, nh=kinds[0])
    return IPv6(**{**ip, **fields}) / Raw(data + payload(packet))


def routing(kind, left, addresses=b""):
    """What a routing header says of its type and its segments."""
    return (ROUTING, bytes([kind, left]) + bytes(4) + addresses)


def expect_answered(net, *headers):
    """A ping behind these headers is answered."""
    request = net.echo_request()
    net.send(extended(request, *headers))
    net.expect_reply(request)


def expect_problem(net, kinds, pointer, *headers, **ip):
    """A ping behind these headers draws a parameter problem, and no reply."""
    packet = extended(net.echo_request(ip=ip), *headers)
    net.send(packet)
    error = net.expect_error(kinds, packet, pointer=pointer)
    net.expect_nothing()
    return error


def expect_ignored(net, *packets):
    """Nothing comes of these."""
    net.send(*packets)
    net.expect_nothing()
    net.is_alive()


# The fixed header


@case("RFC8200 3 version", families=V6)
def a_packet_of_another_version_is_ignored(net):
    expect_ignored(net, *(net.echo_request(ip=dict(version=version)) for version in (0, 4, 5, 7, 15)))


@case("RFC8200 3 payload length", families=V6)
def a_packet_of_which_the_end_is_missing_is_ignored(net):
    expect_ignored(net, *(net.echo_request(ip=dict(plen=16 + missing)) for missing in (1, 8, 1000, 65_000)))


@case("RFC8200 3 payload length", families=V6)
def what_is_shorter_than_the_header_is_ignored(net):
    request = bytes(net.echo_request())
    expect_ignored(net, *(request[:length] for length in range(1, 40)))


@case("RFC8200 3 payload length", families=V6)
def what_comes_behind_the_payload_length_is_no_part_of_the_packet(net):
    request = net.echo_request(b"abc")
    net.send(bytes(request) + b"padding")
    net.expect_reply(request, data=b"abc")


@case("RFC8200 3 payload length", families=V6)
def a_packet_without_payload_has_none(net):
    expect_ignored(net, net.echo_request(ip=dict(plen=0)), net.udp(b"hello", ip=dict(plen=0)))


@case("RFC8200 3 hop limit", families=V6)
def a_packet_that_has_arrived_without_hops_left_is_taken(net):
    for hlim in (0, 1):
        net.ping(ip=dict(hlim=hlim))


@case("RFC8200 3 flow label", families=V6)
def every_traffic_class_and_flow_label_is_taken(net):
    for tc, fl in ((0xFF, 0), (0, 0xFFFFF), (0xB8, 0x12345)):
        net.ping(ip=dict(tc=tc, fl=fl))


@case("RFC8200 3 destination", families=V6)
def what_is_for_another_host_is_ignored(net):
    for dst in (net.host(3), net.far, "ff02::1234"):
        net.send(net.echo_request(ip=dict(dst=dst)), net.udp(b"hello", dport=CLOSED, ip=dict(dst=dst)))
    net.expect_nothing()
    net.is_alive()


@case("RFC4291 2.5.3 loopback", families=V6)
def the_loopback_address_is_not_reached_from_outside(net):
    expect_ignored(net, net.echo_request(ip=dict(dst="::1")), net.udp(b"hello", ip=dict(dst="::1")))


@case("RFC4291 2.5.3 loopback", families=V6)
def the_loopback_address_is_no_source_of_what_comes_by_a_wire(net):
    expect_ignored(net, net.echo_request(ip=dict(src="::1")), net.udp(b"hello", dport=CLOSED, ip=dict(src="::1")))


@case("RFC4291 2.7 source", families=V6)
def a_multicast_address_is_no_source(net):
    for src in (ALL_NODES, "ff0e::1234"):
        net.send(net.echo_request(ip=dict(src=src)), net.udp(b"hello", ip=dict(src=src)))
    # Not even to a group may anything go.
    net.expect_nothing(where=lambda packet: True)
    net.is_alive()
    answers = [seen for seen in net.inbox if seen.packet.dst in (ALL_NODES, "ff0e::1234")]
    assert not answers, answers


# Next headers


@case("RFC8200 4 next header", "RFC4443 3.4 pointer", families=V6)
def a_next_header_that_nobody_knows_is_a_problem(net):
    packet = net.ip(nh=UNASSIGNED) / Raw(b"what nobody understands")
    net.send(packet)
    net.expect_error(PROTOCOL_UNREACHABLE, packet, pointer=NEXT_HEADER)


@case("RFC8200 4 next header", "RFC4443 3.4 pointer", families=V6)
def the_problem_points_to_the_header_before_the_unknown_one(net):
    unknown = net.ip(nh=UNASSIGNED) / Raw(b"what nobody understands")
    packet = extended(unknown, (HOP_BY_HOP, PAD), (DESTINATION, PAD))
    net.send(packet)
    net.expect_error(PROTOCOL_UNREACHABLE, packet, pointer=FIXED + 8)


@case("RFC8200 4.7 no next header", families=V6)
def what_follows_no_next_header_is_ignored(net):
    nothing = net.ip(nh=NONE) / Raw(payload(net.echo_request()))
    expect_ignored(net, net.ip(nh=NONE), nothing, extended(nothing, (DESTINATION, PAD)))


@case("RFC8200 4 hop-by-hop", families=V6)
def hop_by_hop_options_stand_first_or_are_a_problem(net):
    expect_problem(net, PROTOCOL_UNREACHABLE, FIXED, (DESTINATION, PAD), (HOP_BY_HOP, PAD))
    expect_problem(net, PROTOCOL_UNREACHABLE, FIXED, (HOP_BY_HOP, PAD), (HOP_BY_HOP, PAD))


@case("RFC8200 4.1 order", families=V6)
def each_extension_header_is_stepped_over(net):
    for header in ((HOP_BY_HOP, PAD), (DESTINATION, PAD), routing(UNASSIGNED, 0), (FRAGMENT, bytes(6))):
        expect_answered(net, header)


@case("RFC8200 4.1 order", families=V6)
def extension_headers_come_in_the_order_that_is_recommended(net):
    expect_answered(net, (HOP_BY_HOP, PAD), (DESTINATION, PAD), routing(UNASSIGNED, 0), (FRAGMENT, bytes(6)),
                    (DESTINATION, PAD))


@case("RFC8200 4.1 order", families=V6)
def extension_headers_come_in_any_order_and_more_than_once(net):
    expect_answered(net, (DESTINATION, PAD), (FRAGMENT, bytes(6)), (DESTINATION, PAD), routing(UNASSIGNED, 0))
    expect_answered(net, routing(UNASSIGNED, 0), (DESTINATION, PAD), (DESTINATION, PAD), (DESTINATION, PAD))


@case("RFC8200 4 reserved", families=V6)
def an_extension_header_longer_than_the_packet_is_not_stepped_over(net):
    for kind in (HOP_BY_HOP, DESTINATION, ROUTING):
        data = bytearray(bytes(extended(net.echo_request(), (kind, PAD))))
        data[FIXED + 1] = 200
        net.send(bytes(data))
    # A parameter problem may come, and a reply may not.
    net.expect_nothing(ICMPv6EchoReply)
    net.is_alive()


@case("RFC8200 4 reserved", families=V6)
def an_extension_header_that_is_cut_off_is_not_stepped_over(net):
    packet = net.ip(nh=DESTINATION) / Raw(bytes([58, 0, 1]))
    net.send(packet, net.ip(nh=HOP_BY_HOP), net.ip(nh=ROUTING) / Raw(bytes([58])), net.ip(nh=FRAGMENT) / Raw(bytes(7)))
    net.is_alive()


# Options


@case("RFC8200 4.2 padding", families=V6)
def options_are_padded_by_one_octet_or_more(net):
    for kind in (HOP_BY_HOP, DESTINATION):
        for padding in (bytes(6), PAD, bytes([1, 0, 0, 1, 0, 0]), bytes([0, 1, 3, 0, 0, 0])):
            expect_answered(net, (kind, padding))


@case("RFC8200 4.2 padding", families=V6,
      linux="drops more padding than aligns a header: 7 octets (ip6_parse_tlv; RFC 4942 section 2.1.9.5 warns of it)")
def there_may_be_more_padding_than_is_needed(net):
    for kind in (HOP_BY_HOP, DESTINATION):
        expect_answered(net, (kind, bytes([1, 12]) + bytes(12)))


@case("RFC8200 4.2 00", families=V6)
def an_unknown_option_may_say_that_it_is_to_be_skipped(net):
    for kind in (HOP_BY_HOP, DESTINATION):
        expect_answered(net, (kind, option(SKIP)))


@case("RFC8200 4.2 00", families=V6)
def a_router_alert_is_no_reason_to_drop_a_packet(net):
    expect_answered(net, (HOP_BY_HOP, bytes([ROUTER_ALERT, 2, 0, 0, 1, 0])))


@case("RFC8200 4.2 01", families=V6)
def an_unknown_option_may_say_that_the_packet_is_to_be_dropped(net):
    expect_ignored(net, *(extended(net.echo_request(), (kind, option(DISCARD))) for kind in (HOP_BY_HOP, DESTINATION)))


@case("RFC8200 4.2 10", "RFC4443 3.4 pointer", families=V6)
def an_unknown_option_may_say_that_its_sender_is_to_be_told(net):
    for kind in (HOP_BY_HOP, DESTINATION):
        expect_problem(net, UNKNOWN_OPTION, FIXED + 2, (kind, option(COMPLAIN)))


@case("RFC8200 4.2 11", "RFC4443 3.4 pointer", families=V6)
def an_unknown_option_may_say_that_its_sender_is_to_be_told_unless_it_speaks_to_many(net):
    for kind in (HOP_BY_HOP, DESTINATION):
        expect_problem(net, UNKNOWN_OPTION, FIXED + 2, (kind, option(COMPLAIN_TO_ONE)))


@case("RFC8200 4.2 10", "RFC4443 2.2 source", families=V6)
def an_unknown_option_may_say_that_its_sender_is_to_be_told_even_if_it_speaks_to_many(net):
    for kind in (HOP_BY_HOP, DESTINATION):
        error = expect_problem(net, UNKNOWN_OPTION, FIXED + 2, (kind, option(COMPLAIN)), dst=ALL_NODES)
        assert not error.packet.src.startswith("ff"), error.packet.src


@case("RFC8200 4.2 11", families=V6)
def an_unknown_option_that_came_to_many_may_ask_for_silence(net):
    packets = [extended(net.echo_request(ip=dict(dst=ALL_NODES)), (kind, option(COMPLAIN_TO_ONE)))
               for kind in (HOP_BY_HOP, DESTINATION)]
    expect_ignored(net, *packets)


@case("RFC4443 3.4 pointer", families=V6)
def the_problem_points_to_the_option_wherever_it_stands(net):
    padded = bytes([1, 4]) + bytes(4) + option(COMPLAIN) + bytes(2)
    expect_problem(net, UNKNOWN_OPTION, FIXED + 8 + 8, (HOP_BY_HOP, PAD), (DESTINATION, padded))


@case("RFC8200 4.2 order", families=V6)
def of_two_unknown_options_the_first_decides(net):
    expect_problem(net, UNKNOWN_OPTION, FIXED + 2, (DESTINATION, bytes([COMPLAIN, 0, DISCARD, 0, 1, 0])))
    expect_ignored(net, extended(net.echo_request(), (DESTINATION, bytes([DISCARD, 0, COMPLAIN, 0, 1, 0]))))


@case("RFC8200 4.2 padding", families=V6)
def an_option_longer_than_its_header_is_not_skipped(net):
    for kind in (HOP_BY_HOP, DESTINATION):
        net.send(extended(net.echo_request(), (kind, bytes([SKIP, 12, 0, 0, 0, 0]))))
    net.expect_nothing(ICMPv6EchoReply)
    net.is_alive()


@case("RFC8200 4.2 11", families=V6)
def a_jumbo_payload_that_is_none_is_a_problem(net):
    # Of code 0 for who knows the option (RFC 2675 section 3), of code 2 for who doesn't.
    packet = extended(net.echo_request(), (HOP_BY_HOP, bytes([JUMBO, 4, 0, 0, 0, 24])))
    net.send(packet)
    net.expect(ICMPv6ParamProblem, code=lambda code: code in (0, 2))
    net.expect_nothing()


# Routing headers


@case("RFC8200 4.4 no segments left", "RFC5095 3 type 0", families=V6)
def a_routing_header_that_has_done_its_work_is_ignored(net):
    for kind in (0, UNASSIGNED):
        expect_answered(net, routing(kind, 0, bytes(16)))


@case("RFC5095 3 type 0", families=V6)
def a_routing_header_of_type_0_is_not_followed(net):
    expect_problem(net, PROBLEM, FIXED + 2, routing(0, 1, bytes(IPv6(dst=net.far))[24:40]))


@case("RFC8200 4.4 segments left", "RFC4443 3.4 pointer", families=V6)
def a_routing_header_that_nobody_knows_is_a_problem(net):
    expect_problem(net, PROBLEM, FIXED + 2, routing(UNASSIGNED, 1, bytes(16)))


@case("RFC8200 4.4 segments left", "RFC4443 3.4 pointer", families=V6)
def the_problem_points_to_the_routing_type_wherever_it_stands(net):
    expect_problem(net, PROBLEM, FIXED + 8 + 2, (DESTINATION, PAD), routing(UNASSIGNED, 255, bytes(16)))
