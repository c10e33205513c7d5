"""ICMP of both families (RFC 792, RFC 1122 section 3.2.2, RFC 1812 section 4.3, RFC 4443).

What a host does about errors that concern its own connections stands with TCP.
"""

import time

import pytest
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import in6_chksum
from scapy.packet import Raw
from scapy.utils import checksum

from suite.cases import BOTH, case
from suite.errors import ICMP as ICMPV4, ICMPV6, PORT_UNREACHABLE, PROBLEM, UNKNOWN_OPTION, error_in, transport
from suite.fragments import cut_every, part, payload
from suite.setting import CLOSED, IPV4, IPV6

ECHO = ("RFC792 echo", "RFC1122 3.2.2.6 echo", "RFC4443 4.2 echo")
DATA = ("RFC792 echo", "RFC1122 3.2.2.6 data", "RFC4443 4.2 data")
UNASSIGNED = 253
DAY_MS = 24 * 60 * 60 * 1000
V6 = (IPV6,)


def message(net, kind, code=0, body=bytes(4), ip=None, chksum=None):
    """An ICMP message: what follows the checksum is `body`, and the checksum is right if nothing else is said."""
    number = {IPV4: ICMPV4, IPV6: ICMPV6}[net.family]
    header = net.ip(**{"proto" if net.family == IPV4 else "nh": number}, **(ip or {}))
    data = bytes([kind, code, 0, 0]) + body
    if chksum is None:
        chksum = checksum(data) if net.family == IPV4 else in6_chksum(ICMPV6, header, data)
    return header / Raw(data[:2] + chksum.to_bytes(2, "big") + data[4:])


def error_about(net, quoted, ip=None):
    """Port unreachable about something."""
    return message(net, *PORT_UNREACHABLE[net.family], body=bytes(4) + bytes(quoted), ip=ip)


def to_closed_port(net, **ip):
    """What would draw port unreachable, if it came from a host to a host."""
    return net.udp(b"is anybody there?", dport=CLOSED, ip=ip)


def expect_ignored(net, *packets):
    """Nothing comes of these."""
    net.send(*packets)
    net.expect_nothing()
    net.is_alive()
    # What was answered late, by a busy machine, has come before the answer that showed it to be alive.
    net.expect_nothing(for_=0)


# Echo


@case(*ECHO, *DATA, families=BOTH)
def an_echo_of_any_size_comes_back(net):
    for length in (0, 1, 2, 57, 1000, 1400):
        net.ping(bytes(number % 251 for number in range(length)))


@case(*DATA, "RFC1122 3.3.2 size", families=BOTH)
def the_largest_echo_comes_back(net):
    request = net.echo_request(bytes(range(256)) * 255 + bytes(227))
    net.send(*cut_every(request, 1448))
    net.expect_reply(request, within=3.0)


@case(*DATA, families=BOTH)
def identifier_and_sequence_number_come_back(net):
    for id, seq in ((0, 0), (0xFFFF, 0xFFFF), (0x1234, 0), (1, 0xFEDC)):
        net.ping(id=id, seq=seq)


@case(*DATA, families=BOTH)
def every_octet_may_be_in_an_echo(net):
    net.ping(bytes(range(256)))


@case("RFC1122 3.2.2.6 source", "RFC4443 4.2 source", families=BOTH)
def everyone_gets_its_own_reply_from_the_address_it_has_asked(net):
    requests = [net.echo_request(bytes([number]) * 9, id=7, ip=dict(src=net.host(number))) for number in range(3)]
    requests.append(net.echo_request(b"from afar", id=8, ip=dict(src=net.far)))
    for request in requests:
        net.send(request)
        net.expect_reply(request)


@case(*ECHO, families=BOTH)
def a_ping_is_answered_once(net):
    for _ in range(3):
        net.ping()
    net.expect_nothing()


@case("RFC1812 4.3.2.5 precedence")
def a_reply_has_the_precedence_of_its_request(net):
    for tos in (0x00, 0x20, 0xA0, 0xE0):
        assert net.ping(ip=dict(tos=tos)).tos & 0xE0 == tos


@case("RFC4443 4.2 multicast", "RFC4443 2.2 source", families=V6)
def a_ping_to_all_nodes_is_answered_from_an_address_of_ones_own(net):
    request = net.echo_request(ip=dict(dst="ff02::1"))
    net.send(request)
    net.expect_reply(request)


@case("RFC4291 2.8 groups", "RFC4443 4.2 multicast", families=V6,
      linux="joins no solicited-node group where there is nobody to solicit: IFF_NOARP (addrconf_join_solict)")
def a_ping_to_the_group_of_the_targets_address_is_answered(net):
    request = net.echo_request(ip=dict(dst="ff02::1:ff00:2"))
    net.send(request)
    net.expect_reply(request)


@case("RFC792 checksum", "RFC4443 2.3 checksum", families=BOTH)
def an_echo_with_a_wrong_checksum_is_ignored(net):
    field = "chksum" if net.family == IPV4 else "cksum"
    expect_ignored(net, *(net.echo_request(**{field: value}) for value in (0, 0x1234, 0xFFFF)))


@case("RFC792 checksum", "RFC4443 2.3 checksum", families=BOTH)
def every_octet_of_an_echo_counts(net):
    request = bytes(net.echo_request(b"odd"))
    for at in range(len(request) - 11, len(request)):
        turned = bytearray(request)
        turned[at] ^= 0x10
        net.send(bytes(turned))
    net.expect_nothing()
    net.is_alive()


@case("RFC4443 2.3 checksum", families=V6)
def a_checksum_of_the_message_alone_is_wrong(net):
    data = bytes([128, 0, 0, 0]) + bytes([0, 7, 0, 1]) + b"abcdefgh"
    expect_ignored(net, message(net, 128, body=data[4:], chksum=checksum(data)))


@case("RFC792 truncated", "RFC4443 4.2 echo", families=BOTH)
def half_a_header_is_no_message(net):
    kind = {IPV4: 8, IPV6: 128}[net.family]
    expect_ignored(net, *(message(net, kind, body=bytes(length)) for length in range(4)))


@case("RFC792 truncated", "RFC4443 4.2 echo", families=BOTH)
def less_than_a_checksum_is_no_message(net):
    whole = payload(net.echo_request())
    header = net.ip(**({"proto": ICMPV4} if net.family == IPV4 else {"nh": ICMPV6}))
    expect_ignored(net, *(header / Raw(whole[:length]) for length in range(4)))


@case(*ECHO, families=BOTH)
def a_reply_that_nobody_has_asked_for_draws_nothing(net):
    kind = {IPV4: 0, IPV6: 129}[net.family]
    expect_ignored(net, message(net, kind, body=bytes([0, 7, 0, 1]) + b"abcdefgh"))


# Other messages


@case("RFC1122 3.2.2 unknown type", "RFC4443 2.4 b unknown", families=BOTH)
def messages_of_unknown_type_are_ignored(net):
    kinds = {IPV4: (1, 2, 7, 44, 200, 255), IPV6: (200, 201, 252, 255)}[net.family]
    expect_ignored(net, *(message(net, kind, body=bytes(40)) for kind in kinds))


@case("RFC1122 3.2.2 unknown type", "RFC4443 2.4 e.1 errors", families=BOTH)
def errors_about_nothing_are_ignored(net):
    kinds = {IPV4: (3, 4, 5, 11, 12), IPV6: (1, 2, 3, 4, 100, 127)}[net.family]
    for kind in kinds:
        for quoted in (b"", bytes(20), bytes(48), bytes(to_closed_port(net, src=net.target, dst=net.tester))[:-20]):
            net.send(*(message(net, kind, code=code, body=bytes(4) + quoted) for code in (0, 255)))
    net.expect_nothing()
    net.is_alive()


@case("RFC1122 3.2.2.7 information")
def information_requests_are_not_answered(net):
    expect_ignored(net, message(net, 15))


@case("RFC1122 3.2.2.9 mask")
def a_host_does_not_say_what_the_mask_is(net):
    expect_ignored(net, message(net, 17, body=bytes([0, 7, 0, 1]) + bytes(4)))


@case("RFC1122 3.2.2.8 timestamp")
def a_timestamp_reply_has_the_stamp_of_the_request_and_the_time(net):
    sent = bytes([0, 7, 0, 9]) + (12345).to_bytes(4, "big") + bytes(8)
    net.send(message(net, 13, body=sent))
    seen = net.take(lambda seen: ICMP in seen.packet and seen.packet[ICMP].type == 14, time.monotonic() + 1)
    if seen is None:
        net.is_alive()
        pytest.skip("the target does not answer timestamp requests")
    data = transport(seen.packet)
    assert seen.packet.src == net.target and data[4:12] == sent[:8] and checksum(data) == 0, data.hex()
    for stamp in (data[12:16], data[16:20]):
        value = int.from_bytes(stamp, "big")
        behind = (int(time.time() * 1000) - value) % DAY_MS
        # The highest bit says that it is not milliseconds since midnight.
        assert value >> 31 or min(behind, DAY_MS - behind) < 60_000, value


# What errors are


@case("RFC1122 3.2.2 quote", "RFC4443 2.4 c quote", families=BOTH)
def an_error_quotes_what_has_drawn_it_unchanged(net):
    packet = to_closed_port(net, ttl=3, tos=0x48)
    net.send(packet)
    net.expect_error(PORT_UNREACHABLE, packet)


@case("RFC1812 4.3.2.3 quote")
def an_error_quotes_as_much_as_fits_into_576_octets(net):
    packet = net.udp(bytes(range(256)) * 5, dport=CLOSED)
    net.send(packet)
    error = net.expect_error(PORT_UNREACHABLE, packet)
    assert error.packet.len == 576 and error.quoted == bytes(packet)[:576 - 28], error.packet.len


@case("RFC4443 2.4 c quote", families=V6)
def an_error_quotes_as_much_as_fits_into_1280_octets(net):
    for length in (1231, 1232 - 48, 1400):
        packet = net.udp(bytes(number % 251 for number in range(length)), dport=CLOSED)
        net.send(packet)
        error = net.expect_error(PORT_UNREACHABLE, packet)
        assert error.quoted == bytes(packet)[:1280 - 48], len(error.quoted)


@case("RFC792 unused", "RFC4443 3.1 unused", families=BOTH)
def the_unused_field_of_an_error_is_zero(net):
    packet = to_closed_port(net)
    net.send(packet)
    assert net.expect_error(PORT_UNREACHABLE, packet).rest == bytes(4)


@case("RFC4443 2.2 source", "RFC1122 3.3.4.2 source", families=BOTH)
def an_error_goes_from_the_address_it_is_about_to_whom_it_concerns(net):
    for src in (net.host(1), net.far):
        packet = to_closed_port(net, src=src)
        net.send(packet)
        error = net.expect_error(PORT_UNREACHABLE, packet)
        assert (error.packet.src, error.packet.dst) == (net.target, src), error.packet.summary()


# What draws none


@case("RFC1122 3.2.2 no error about errors")
def an_error_with_wrong_options_draws_no_error(net):
    wrong = [Raw(bytes([7, 3, 0, 0]))]
    # That it would be one in another packet:
    packet = to_closed_port(net, options=wrong)
    net.send(packet)
    net.expect_error(PROBLEM, packet)
    quoted = bytes(to_closed_port(net, src=net.target, dst=net.tester))
    expect_ignored(net, error_about(net, quoted, ip=dict(options=wrong)))


def with_unknown_option(net, packet):
    """The same behind an option that asks for a parameter problem."""
    return net.ip(nh=60) / Raw(bytes([ICMPV6, 0, 0x9E, 2, 0, 0, 1, 0]) + payload(packet))


def expect_no_problem_for(net, *kinds):
    """An unknown option draws none in messages of these kinds, though it does in an echo request."""
    quoted = bytes(to_closed_port(net, src=net.target, dst=net.tester))
    net.send(*(with_unknown_option(net, message(net, kind, body=bytes(4) + quoted)) for kind in kinds))
    net.expect_nothing()
    packet = with_unknown_option(net, net.echo_request())
    net.send(packet)
    net.expect_error(UNKNOWN_OPTION, packet, pointer=42)


@case("RFC4443 2.4 e.1 errors", families=V6)
def an_error_with_an_unknown_option_draws_no_error(net):
    expect_no_problem_for(net, 1, 2, 3, 4)


@case("RFC4443 2.4 e.2 redirects", families=V6,
      linux="asks only whether the type is below 128, which that of a redirect is not (is_ineligible, net/ipv6/icmp.c)")
def a_redirect_with_an_unknown_option_draws_no_error(net):
    expect_no_problem_for(net, 137)


@case("RFC1122 3.2.2 no error about fragments", "RFC792 first fragment", "RFC4443 2.4 e.1 errors", families=BOTH)
def a_fragment_that_is_not_the_first_draws_no_error(net):
    unknown = net.ip(**({"proto": UNASSIGNED} if net.family == IPV4 else {"nh": UNASSIGNED})) / Raw(bytes(64))
    expect_ignored(net, part(unknown, 32, 64), part(to_closed_port(net), 8, 16))


@case("RFC1122 3.2.2 no error to no host")
def who_is_not_a_single_host_is_sent_no_error(net):
    sources = ("255.255.255.255", "224.0.0.1", "0.0.0.0", "127.0.0.1", net.target)
    expect_ignored(net, *(to_closed_port(net, src=src) for src in sources))


@case("RFC1122 3.2.2 no error to no host",
      linux="takes 240/4 for addresses of hosts (since 2.6.25: draft-fuller-240space)")
def an_address_of_class_e_is_sent_no_error(net):
    expect_ignored(net, to_closed_port(net, src="240.0.0.1"))


@case("RFC4443 2.4 e.6 source", families=V6)
def what_is_not_one_node_is_sent_no_error(net):
    sources = ("::", "ff02::1", "ff0e::7", "::1", net.target)
    net.send(*(to_closed_port(net, src=src) for src in sources))
    time.sleep(0.4)
    net.is_alive()
    errors = [seen.packet.summary() for seen in net.inbox if error_in(seen.packet)]
    assert not errors, errors


@case("RFC1812 4.3.2.8 rate", "RFC4443 2.4 f rate", families=BOTH)
def a_flood_draws_a_bounded_number_of_errors(net):
    packet = bytes(to_closed_port(net))
    net.send(*[packet] * 1000)
    time.sleep(1)
    net.is_alive()
    errors = sum(error_in(seen.packet) is not None for seen in net.inbox)
    # However high the limit: it is one. Most stacks send some ten a second.
    assert 1 <= errors < 500, f"1,000 datagrams for a closed port drew {errors} errors"


@case("RFC4443 2.4 f rate", "RFC1812 4.3.2.8 rate", families=BOTH)
def after_a_flood_errors_are_sent_again(net):
    packet = to_closed_port(net)
    net.send(*[bytes(packet)] * 200)
    time.sleep(2.5)
    net.forget()
    net.send(packet)
    net.expect_error(PORT_UNREACHABLE, packet)
