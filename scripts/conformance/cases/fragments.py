"""Fragments (RFC 791 section 3.2, RFC 1122 section 3.3.2, RFC 8200 section 4.5, RFC 5722, RFC 6946).

What becomes of overlapping fragments of IPv4 is left open: RFC 791 lets the one that came last win, and most stacks
drop the datagram, as IPv6 has to. How long IPv4's fragments are kept is not judged either: RFC 1122 proposes 60 to
120 seconds, and RFC 4963 shows that this is too long for an identification of 16 bits.
"""

from itertools import permutations

from scapy.layers.inet import UDP
from scapy.packet import Raw

from suite.cases import BOTH, case
from suite.errors import INCOMPLETE_HEADERS, PROBLEM, REASSEMBLY_TIME_EXCEEDED, transport
from suite.fragments import cut, cut_every, part, payload
from suite.setting import IPV4, IPV6

REASSEMBLY = ("RFC791 3.2 reassembly", "RFC8200 4.5 reassembly")
TEXT = bytes(range(40))  # with the header of an echo, 48 octets: six units of fragments
FIXED = 40  # octets of IPv6's header; in a fragment, that of the fragment follows
DESTINATION_OPTIONS, ICMPV6 = 60, 58


# Put together


@case(*REASSEMBLY, "RFC1122 3.3.2 reassembly", families=BOTH)
def fragments_become_the_datagram(net):
    request = net.echo_request(TEXT)
    net.send(*cut(request, 16, 32))
    net.expect_reply(request)


@case(*REASSEMBLY, families=BOTH)
def fragments_become_the_datagram_in_whatever_order_they_come(net):
    for order in permutations(range(3)):
        request = net.echo_request(TEXT)
        parts = cut(request, 16, 32)
        net.send(*(parts[index] for index in order))
        net.expect_reply(request)


@case(*REASSEMBLY, families=BOTH)
def a_datagram_may_come_eight_octets_at_a_time(net):
    request = net.echo_request(bytes(range(256)))
    net.send(*cut_every(request, 8))
    net.expect_reply(request)


@case(*REASSEMBLY, families=BOTH)
def a_datagram_may_come_eight_octets_at_a_time_from_behind(net):
    request = net.echo_request(bytes(range(256)))
    net.send(*reversed(cut_every(request, 8)))
    net.expect_reply(request)


@case("RFC791 3.1 datagrams of 576 octets", "RFC1122 3.3.2 reassembly", "RFC8200 5 packets of 1500 octets",
      families=BOTH)
def what_every_host_takes_is_taken_in_fragments(net):
    size = {IPV4: 576 - 20, IPV6: 1500 - 40}[net.family] - 8
    request = net.echo_request(bytes(size))
    net.send(*cut_every(request, 256))
    net.expect_reply(request)


@case("RFC1122 3.3.2 size", *REASSEMBLY, families=BOTH)
def the_largest_datagram_is_put_together(net):
    request = net.echo_request(bytes(range(256)) * 255 + bytes(227))
    net.send(*cut_every(request, 1448))
    net.expect_reply(request)


@case(*REASSEMBLY, families=BOTH)
def a_fragment_alone_is_no_datagram(net):
    request = net.echo_request(TEXT)
    for piece in (cut(request, 16, id=1)[0], cut(request, 16, id=2)[1]):
        net.send(piece)
    net.expect_nothing()
    net.is_alive()


@case(*REASSEMBLY, families=BOTH)
def a_datagram_waits_for_the_fragment_that_it_lacks(net):
    request = net.echo_request(TEXT)
    first, middle, last = cut(request, 16, 24)
    net.send(first, last)
    net.expect_nothing()
    net.send(middle)
    net.expect_reply(request)


@case(*REASSEMBLY, families=BOTH)
def a_datagram_of_udp_is_put_together(net):
    packet = net.udp(TEXT)
    net.send(*cut(packet, 16, 32))
    net.expect(UDP, sport=7, dport=packet.sport, where=lambda answer: transport(answer)[8:] == TEXT)


@case("RFC768 checksum", families=BOTH)
def the_checksum_covers_what_has_been_put_together(net):
    packet = net.udp(TEXT)
    parts = cut(packet, 16, 32)
    parts[1][Raw].load = bytes(16)
    net.send(*parts)
    net.expect_nothing()
    net.is_alive()


@case(*REASSEMBLY, families=BOTH)
def fragments_may_have_taken_different_ways(net):
    request = net.echo_request(TEXT)
    hops = "ttl" if net.family == IPV4 else "hlim"
    net.send(*(part(request, start, start + 16, **{hops: start + 1}) for start in (0, 16, 32)))
    net.expect_reply(request)


@case("RFC791 3.2 duplicates")
def a_fragment_that_comes_twice_is_as_good_as_once(net):
    request = net.echo_request(TEXT)
    first, middle, last = cut(request, 16, 32)
    net.send(first, first, last, last, middle)
    net.expect_reply(request)


@case("RFC8200 4.5 first header", families=(IPV6,))
def only_the_first_fragment_says_what_the_next_header_is(net):
    request = net.echo_request(TEXT)
    net.send(part(request, 16, 48, nh=DESTINATION_OPTIONS), part(request, 0, 16))
    net.expect_reply(request)


@case("RFC8200 4.5 reserved", families=(IPV6,))
def reserved_fields_of_a_fragment_header_are_ignored(net):
    request = net.echo_request(TEXT)
    net.send(part(request, 0, 16, res1=0xFF, res2=3), part(request, 16, 48, res1=0x55, res2=1))
    net.expect_reply(request)


# Which belong together


@case("RFC791 3.2 identification", "RFC8200 4.5 identification", families=BOTH)
def fragments_of_two_datagrams_may_be_mixed(net):
    one, other = net.echo_request(TEXT), net.echo_request(TEXT[::-1])
    for pieces in zip(cut(one, 16, 32, id=77), cut(other, 16, 32, id=78)):
        net.send(*pieces)
    net.expect_reply(one)
    net.expect_reply(other)


@case("RFC791 3.2 identification", "RFC8200 4.5 identification", families=BOTH)
def two_hosts_may_use_the_same_identification(net):
    one, other = net.echo_request(TEXT), net.echo_request(TEXT[::-1], ip=dict(src=net.host(1)))
    for pieces in zip(cut(one, 16, 32, id=77), cut(other, 16, 32, id=77)):
        net.send(*pieces)
    net.expect_reply(one)
    net.expect_reply(other)


@case("RFC791 3.2 identification")
def two_protocols_may_use_the_same_identification(net):
    ping, packet = net.echo_request(TEXT), net.udp(TEXT[::-1])
    for pieces in zip(cut(ping, 16, 32, id=77), cut(packet, 16, 32, id=77)):
        net.send(*pieces)
    net.expect_reply(ping)
    net.expect(UDP, sport=7, dport=packet.sport, where=lambda answer: transport(answer)[8:] == TEXT[::-1])


@case("RFC791 3.2 identification", "RFC8200 4.5 identification", families=BOTH)
def an_identification_may_be_used_again(net):
    for data in (TEXT, TEXT[::-1]):
        request = net.echo_request(data)
        net.send(*cut(request, 16, 32, id=77))
        net.expect_reply(request)


@case("RFC791 3.2 identification", "RFC8200 4.5 identification", families=BOTH)
def fragments_of_different_datagrams_are_not_joined(net):
    request = net.echo_request(TEXT)
    net.send(part(request, 0, 16, id=1), part(request, 16, 48, id=2))
    net.send(part(net.echo_request(TEXT, ip=dict(src=net.host(1))), 16, 48, id=1))
    net.expect_nothing()
    net.is_alive()


@case("RFC6946 4 atomic", families=(IPV6,))
def a_packet_that_is_its_only_fragment_is_a_packet(net):
    request = net.echo_request(TEXT)
    net.send(part(request, 0, 48))
    net.expect_reply(request)


@case("RFC6946 4 atomic", families=(IPV6,))
def a_packet_that_is_its_only_fragment_has_nothing_to_do_with_others_of_its_name(net):
    cut_one, atomic = net.echo_request(TEXT), net.echo_request(TEXT[::-1])
    net.send(part(cut_one, 0, 16, id=77), part(atomic, 0, 48, id=77))
    net.expect_reply(atomic)
    net.send(part(cut_one, 16, 48, id=77))
    net.expect_reply(cut_one)


# Overlaps

OVERLAP = ("RFC5722 4 overlap", "RFC8200 4.5 overlap")


def expect_given_up(net, *parts):
    """Neither the datagram nor an error comes of these, all of which it would take."""
    net.send(*parts)
    net.expect_nothing()
    net.is_alive()


@case(*OVERLAP, families=(IPV6,))
def a_fragment_that_overlaps_the_one_before_ends_the_datagram(net):
    request = net.echo_request(TEXT)
    expect_given_up(net, part(request, 0, 24), part(request, 16, 32), part(request, 32, 48))


@case(*OVERLAP, families=(IPV6,))
def a_fragment_that_overlaps_the_one_behind_ends_the_datagram(net):
    request = net.echo_request(TEXT)
    expect_given_up(net, part(request, 32, 48), part(request, 16, 40), part(request, 0, 16))


@case(*OVERLAP, families=(IPV6,),
      linux="takes whatever lies within what has come for a duplicate, and drops it alone (inet_frag_queue_insert)")
def a_fragment_within_another_ends_the_datagram(net):
    request = net.echo_request(TEXT)
    expect_given_up(net, part(request, 0, 32), part(request, 8, 16), part(request, 32, 48))


@case(*OVERLAP, families=(IPV6,))
def a_fragment_around_another_ends_the_datagram(net):
    request = net.echo_request(TEXT)
    expect_given_up(net, part(request, 16, 24), part(request, 8, 48), part(request, 0, 8))


@case(*OVERLAP, families=(IPV6,))
def a_fragment_that_begins_as_another_and_ends_elsewhere_ends_the_datagram(net):
    request = net.echo_request(TEXT)
    expect_given_up(net, part(request, 0, 16), part(request, 0, 24), part(request, 24, 48))


@case(*OVERLAP, families=(IPV6,))
def an_overlap_with_the_same_data_is_an_overlap(net):
    request = net.echo_request(bytes(40))
    expect_given_up(net, part(request, 16, 32), part(request, 24, 48), part(request, 0, 16))


@case(*OVERLAP, families=(IPV6,),
      linux="knows a duplicate by where it begins and ends, not by what it holds (inet_frag_queue_insert)")
def a_fragment_in_the_place_of_another_with_other_data_is_an_overlap(net):
    request = net.echo_request(TEXT)
    expect_given_up(net, part(request, 16, 32), part(request, 16, 32, data=bytes(16)),
                    part(request, 0, 16), part(request, 32, 48))


@case("RFC791 3.2 reassembly", "RFC8200 4.5 overlap", families=BOTH)
def after_an_overlap_other_datagrams_are_put_together(net):
    spoilt, request = net.echo_request(TEXT), net.echo_request(TEXT)
    net.send(part(spoilt, 0, 24), part(request, 0, 24), part(spoilt, 16, 40), part(request, 24, 48))
    net.expect_reply(request)


@case("RFC791 3.2 reassembly", "RFC8200 4.5 overlap", families=BOTH)
def overlaps_do_no_harm(net):
    # Teardrop: the second ends before the first does. Then some more, of which nobody can say what they are.
    request = net.echo_request(TEXT)
    net.send(part(request, 0, 40, id=77), part(request, 8, 16, id=77, more=False))
    for number in range(200):
        start, end = sorted(net.random.sample(range(0, 56, 8), 2))
        net.send(part(request, start, end, id=number % 5, more=net.random.random() < 0.7))
    net.is_alive()


# What cannot be part of a datagram


@case("RFC8200 4.5 fragment size", families=(IPV6,))
def a_fragment_that_is_no_multiple_of_eight_octets_is_a_problem(net):
    packet = part(net.echo_request(TEXT), 0, 20)
    net.send(packet)
    net.expect_error(PROBLEM, packet, pointer=4)


@case("RFC8200 4.5 largest packet", families=(IPV6,))
def a_fragment_that_reaches_beyond_the_largest_packet_is_a_problem(net):
    packet = part(net.echo_request(TEXT), 65_528, 0, data=bytes(16), more=False)
    net.send(packet)
    net.expect_error(PROBLEM, packet, pointer=FIXED + 2)


@case("RFC791 3.1 largest datagram")
def fragments_of_more_than_the_largest_datagram_become_none(net):
    # The ping of death: sound but for its length.
    request = net.echo_request(bytes(65_500))
    last = part(request, 65_504, 0, data=bytes(400), more=False)
    net.send(*cut_every(request, 1456)[:-1], part(request, 64_064, 65_504), last)
    net.expect_nothing()
    net.is_alive()


def behind_options(net, length):
    """A ping behind a header of destination options of so many octets."""
    options = bytes([ICMPV6, length // 8 - 1, 1, length - 4]) + bytes(length - 4)
    return net.ip(nh=DESTINATION_OPTIONS) / Raw(options + payload(net.echo_request(TEXT)))


@case("RFC8200 4.5 all headers", families=(IPV6,))
def a_first_fragment_that_ends_amid_an_extension_header_is_a_problem(net):
    first = part(behind_options(net, 16), 0, 8)
    net.send(first)
    net.expect_error(INCOMPLETE_HEADERS, first, pointer=0)


@case("RFC8200 4.5 all headers", families=(IPV6,))
def a_first_fragment_that_ends_before_the_header_of_the_upper_layer_is_a_problem(net):
    first = part(behind_options(net, 8), 0, 8)
    net.send(first)
    net.expect_error(INCOMPLETE_HEADERS, first, pointer=0)


@case(*REASSEMBLY, families=(IPV6,))
def a_first_fragment_with_all_headers_may_have_no_data(net):
    request = net.echo_request(TEXT)
    options = bytes([ICMPV6, 0, 1, 4]) + bytes(4)
    packet = net.ip(nh=DESTINATION_OPTIONS) / Raw(options + payload(request))
    net.send(*cut(packet, 16))
    net.expect_reply(request)


@case("RFC791 3.2 reassembly", "RFC8200 4.5 reassembly", families=BOTH)
def fragments_without_data_do_no_harm(net):
    request = net.echo_request(TEXT)
    for start, more in ((0, True), (16, True), (48, True), (48, False), (65_528, True), (65_528, False)):
        net.send(part(request, start, start, id=3, data=b"", more=more))
    net.is_alive()
    net.forget()
    other = net.echo_request(TEXT)
    net.send(*cut(other, 16))
    net.expect_reply(other)


@case("RFC791 3.2 reassembly", "RFC8200 4.5 reassembly", families=BOTH)
def two_last_fragments_that_disagree_do_no_harm(net):
    request = net.echo_request(TEXT)
    net.send(part(request, 32, 40, more=False), part(request, 32, 48), part(request, 0, 32))
    net.is_alive()


# Time


@case("RFC1122 3.3.2 timeout", "RFC8200 4.5 timeout", "RFC792 first fragment", families=BOTH)
def who_sent_the_first_fragment_is_told_when_the_time_is_up(net):
    told, untold = net.echo_request(TEXT), net.echo_request(TEXT)
    first, without_first = part(told, 0, 16), part(untold, 16, 32)
    net.send(without_first, first)
    # RFC 1122: at most 120 s; RFC 8200: 60.
    net.expect_error(REASSEMBLY_TIME_EXCEEDED, first, within={IPV4: 121, IPV6: 63}[net.family])
    net.expect_no_error(for_=2)
    # What comes now is too late.
    net.send(part(told, 16, 48))
    net.expect_nothing()
    net.is_alive()
