"""TCP and ICMP errors: whom to believe, and what then (RFC 9293 section 3.9.2.2, RFC 5927, RFC 1191, RFC 8201)."""

import time

import pytest
from scapy.layers.inet import ICMP, TCP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded
from scapy.packet import Raw

from suite.cases import BOTH, case
from suite.setting import CHARGEN, IPV4, IPV6
from suite.tcp import MSS, WRAP

UNREACHABLE, QUENCH, TIME_EXCEEDED, PROBLEM = 3, 4, 11, 12

# By name: type and code of IPv4, class and code of IPv6.
SOFT = {"net unreachable": (UNREACHABLE, 0), "host unreachable": (UNREACHABLE, 1),
        "source route failed": (UNREACHABLE, 5)}
LATE = {"time exceeded in transit": (TIME_EXCEEDED, 0), "reassembly time exceeded": (TIME_EXCEEDED, 1)}
PROBLEMS = {"parameter problem": (PROBLEM, 0)}
HARD = {"protocol unreachable": (UNREACHABLE, 2), "port unreachable": (UNREACHABLE, 3)}
SOFT_V6 = {"no route": (ICMPv6DestUnreach, 0), "prohibited": (ICMPv6DestUnreach, 1),
           "address unreachable": (ICMPv6DestUnreach, 3), "time exceeded": (ICMPv6TimeExceeded, 0),
           "parameter problem": (ICMPv6ParamProblem, 0)}
HARD_V6 = {"port unreachable": (ICMPv6DestUnreach, 4), "unknown next header": (ICMPv6ParamProblem, 1)}

SMALL = {IPV4: 1000, IPV6: 1300}


def errors(*tables):
    """A row for each error."""
    table = {name: error for one in tables for name, error in one.items()}
    return pytest.mark.parametrize("error", list(table.values()), ids=list(table))


def quoted(packet, move=0):
    """What an error quotes of a datagram of the target's; `move` says how far its sequence number is forged."""
    # As it was on the wire, with a number of somebody's who has not seen it.
    data = bytearray(packet.original)
    place = (packet.ihl * 4 if packet.version == 4 else 40) + 4
    data[place:place + 4] = ((packet[TCP].seq + move) % WRAP).to_bytes(4, "big")
    return Raw(bytes(data[:place + 4]) if packet.version == 4 else bytes(data[:1232]))


def report(net, packet, error, move=0, **fields):
    """Sends an error of a router's about a datagram of the target's."""
    kind, code = error
    layer = ICMP(type=kind, code=code, **fields) if net.family == IPV4 else kind(code=code, **fields)
    net.send(net.ip(src=net.far) / layer / quoted(packet, move))


def report_too_big(net, packet, mtu, move=0):
    """The same, for what was too big."""
    if net.family == IPV4:
        report(net, packet, (UNREACHABLE, 4), move, nexthopmtu=mtu)
    else:
        net.send(net.ip(src=net.far) / ICMPv6PacketTooBig(mtu=mtu) / quoted(packet, move))


def in_flight(net, **how):
    """A connection to chargen, with full segments in flight: it, and the first of them."""
    tcp = net.connect(CHARGEN, **how)
    return tcp, tcp.expect("A", length=lambda length: length >= 1000)


def goes_on(tcp):
    """Fails if the target does not send any more."""
    tcp.send()
    tcp.read(20_000)


def sizes(tcp, for_=0.6):
    """The lengths of the datagrams that come."""
    return [len(segment.packet.original) for segment in tcp.collect(for_)]


def discovers(net, segment):
    """Ends the case as not applicable if the target allows routers to fragment."""
    if net.family == IPV4 and "DF" not in str(segment.packet.flags):
        pytest.skip("the target does not discover path MTUs")


# Connections that are established

@case("RFC9293 MUST-56/unreachable", "RFC9293 MUST-56/time-exceeded", "RFC9293 MUST-56/parameter")
@errors(SOFT, LATE, PROBLEMS)
def a_soft_error_does_not_end_a_connection(net, error):
    tcp, segment = in_flight(net)
    report(net, segment.packet, error)
    goes_on(tcp)


@case("RFC9293 MUST-56/unreachable", "RFC9293 MUST-56/time-exceeded", "RFC9293 MUST-56/parameter", families=(IPV6,))
@errors(SOFT_V6)
def a_soft_error_does_not_end_a_connection_over_ipv6(net, error):
    tcp, segment = in_flight(net)
    report(net, segment.packet, error)
    goes_on(tcp)


@case("RFC5927 5.2")
@errors(HARD)
def a_hard_error_does_not_end_a_connection_either(net, error):
    tcp, segment = in_flight(net)
    report(net, segment.packet, error)
    goes_on(tcp)


@case("RFC5927 5.2", families=(IPV6,))
@errors(HARD_V6)
def a_hard_error_does_not_end_a_connection_over_ipv6_either(net, error):
    tcp, segment = in_flight(net)
    report(net, segment.packet, error)
    goes_on(tcp)


@case("RFC5927 4.1")
@errors(HARD)
@pytest.mark.parametrize("move", [-100_000, 100_000, 1 << 31], ids=["long past", "to come", "far away"])
def an_error_about_what_is_not_in_flight_ends_nothing(net, error, move):
    tcp, segment = in_flight(net)
    report(net, segment.packet, error, move)
    goes_on(tcp)


@case("RFC9293 MUST-55", "RFC5927 6.2")
def source_quench_does_not_slow_anything_down(net):
    tcp = net.tcp(CHARGEN)
    tcp.open()
    tcp.expect("SA")
    time.sleep(0.5)  # a path that seems slow leaves time to answer before anything is sent again
    tcp.send()
    packet = tcp.expect("A", length=lambda length: length >= 1000).packet
    first = 1 + len(tcp.collect(0.1))
    for _ in range(3):
        report(net, packet, (QUENCH, 0))
    edge = tcp.rcv
    tcp.send()
    second = [segment for segment in tcp.collect(0.3) if segment.seq >= edge]
    # One who gave in would begin again with one segment.
    assert len(second) >= first // 2 > 1, f"{first} segments, then {len(second)}"


# Connections that are opening

@case("RFC9293 MUST-56/unreachable", "RFC9293 MUST-56/time-exceeded", "RFC9293 MUST-56/parameter",
      linux="tcp_v4_err() takes these for the end of a half-open connection, by tcp_req_err(): RFC 5461 section 4.2")
@errors({"host unreachable": SOFT["host unreachable"], "time exceeded": LATE["time exceeded in transit"]}, PROBLEMS)
def a_soft_error_does_not_end_a_half_open_connection(net, error):
    tcp = net.tcp()
    tcp.open()
    report(net, tcp.expect("SA").packet, error)
    net.is_alive()
    tcp.send(b"hello")
    assert tcp.read(5) == b"hello"


@case("RFC5927 4.1", families=BOTH)
@pytest.mark.parametrize("move", [-1000, 1000])
def an_error_about_another_syn_ack_does_not_end_a_half_open_connection(net, move):
    tcp = net.tcp()
    tcp.open()
    packet = tcp.expect("SA").packet
    for error in ({**SOFT, **HARD, **PROBLEMS} if net.family == IPV4 else {**SOFT_V6, **HARD_V6}).values():
        report(net, packet, error, move)
    tcp.send(b"hello")
    assert tcp.read(5) == b"hello"


def connects(tcp):
    """Fails if the target does not wait for a SYN-ACK any more."""
    tcp.send(flags="SA", seq=0, ack=1, options=[(MSS, 1460)])
    tcp.nxt = 1
    tcp.expect("A", ack=1)
    tcp.send(b"hello")
    assert tcp.read(5) == b"hello"


@case("RFC9293 SHLD-26", families=BOTH, needs=("connect",))
def port_unreachable_ends_an_attempt_to_connect(net):
    tcp = net.open_by_target()
    packet = tcp.expect("S", within=5).packet
    report(net, packet, HARD["port unreachable"] if net.family == IPV4 else HARD_V6["port unreachable"])
    tcp.expect_nothing(for_=2.5, flags="S")


@case("RFC5927 4.1", needs=("connect",))
def port_unreachable_about_another_syn_does_not_end_an_attempt_to_connect(net):
    tcp = net.open_by_target()
    report(net, tcp.expect("S", within=5).packet, HARD["port unreachable"], move=1000)
    net.is_alive()
    connects(tcp)


@case("RFC9293 MUST-56/unreachable", "RFC9293 MUST-56/time-exceeded", "RFC9293 MUST-56/parameter", needs=("connect",),
      linux="tcp_v4_err() ends an attempt in SYN-SENT for whatever error: RFC 5461 section 4.1")
@errors({"host unreachable": SOFT["host unreachable"], "time exceeded": LATE["time exceeded in transit"]}, PROBLEMS)
def a_soft_error_does_not_end_an_attempt_to_connect(net, error):
    tcp = net.open_by_target()
    report(net, tcp.expect("S", within=5).packet, error)
    connects(tcp)


# Path MTU

@case("RFC1191 3 reduce", "RFC1191 6.4 retransmit")
def too_big_leads_to_smaller_segments(net):
    tcp, segment = in_flight(net)
    shrinks(net, tcp, segment)


@case("RFC8201 4 reduce", "RFC8201 5.4 retransmit", families=(IPV6,))
def too_big_leads_to_smaller_segments_over_ipv6(net):
    tcp, segment = in_flight(net)
    shrinks(net, tcp, segment)


def shrinks(net, tcp, segment):
    discovers(net, segment)
    tcp.collect(0.05)
    report_too_big(net, segment.packet, SMALL[net.family])
    # What was lost comes again, and fits; so does all that is sent from now on.
    again = tcp.expect("A", seq=1, length=lambda length: length > 0, within=3)
    assert len(again.packet.original) <= SMALL[net.family]
    net.forget()
    goes_on(tcp)
    found = sizes(tcp)
    assert found and max(found) <= SMALL[net.family], found


@case("RFC1191 3 reduce", "RFC1191 6.4 retransmit")
def too_big_goes_for_the_next_connection_too(net):
    tcp, segment = in_flight(net)
    discovers(net, segment)
    report_too_big(net, segment.packet, SMALL[net.family])
    tcp.send(flags="R", seq=tcp.nxt)
    other = net.connect(CHARGEN)
    assert 0 < max(sizes(other, 0.3)) <= SMALL[net.family]


def stays_large(tcp):
    """Fails if the datagrams are not as large as the link allows."""
    goes_on(tcp)
    found = sizes(tcp, 0.3)
    assert max(found) == 1500, f"the largest datagram has {max(found)} bytes"


@case("RFC5927 7.2", "RFC5927 4.1", families=BOTH)
@pytest.mark.parametrize("move", [-100_000, 1_000_000, 1 << 31], ids=["long past", "to come", "far away"])
def too_big_about_what_is_not_in_flight_is_not_believed(net, move):
    tcp, segment = in_flight(net)
    report_too_big(net, segment.packet, SMALL[net.family], move)
    stays_large(tcp)


@case("RFC5927 7.2", families=BOTH)
def too_big_about_what_has_been_acknowledged_is_not_believed(net):
    tcp, segment = in_flight(net)
    goes_on(tcp)
    report_too_big(net, segment.packet, SMALL[net.family])
    stays_large(tcp)


@case("RFC1191 3 no increase")
@pytest.mark.parametrize("mtu", [1500, 9000, 65535])
def too_big_does_not_make_anything_bigger(net, mtu):
    tcp, segment = in_flight(net, mss=9000)
    report_too_big(net, segment.packet, mtu)
    goes_on(tcp)
    assert max(sizes(tcp, 0.3)) <= 1500


@case("RFC8201 4 no increase", families=(IPV6,))
@pytest.mark.parametrize("mtu", [1500, 9000, (1 << 32) - 1])
def too_big_does_not_make_anything_bigger_over_ipv6(net, mtu):
    tcp, segment = in_flight(net, mss=9000)
    report_too_big(net, segment.packet, mtu)
    goes_on(tcp)
    assert max(sizes(tcp, 0.3)) <= 1500


@case("RFC1191 3 never below 68", "RFC1191 4 zero")
@pytest.mark.parametrize("mtu", [0, 1, 20, 40, 67])
def too_big_with_an_impossible_mtu_does_not_stop_anything(net, mtu):
    tcp, segment = in_flight(net)
    for _ in range(3):
        report_too_big(net, segment.packet, mtu)
    goes_on(tcp)
    assert max(sizes(tcp, 0.3)) >= 68


@case("RFC8201 4 never below 1280", families=(IPV6,))
@pytest.mark.parametrize("mtu", [0, 68, 600, 1279])
def too_big_below_1280_makes_no_packet_smaller_than_that(net, mtu):
    tcp, segment = in_flight(net)
    report_too_big(net, segment.packet, mtu)
    goes_on(tcp)
    assert max(sizes(tcp, 0.3)) >= 1280


@case("RFC8201 4 discard", families=(IPV6,))
def too_big_below_1280_is_not_believed(net):
    tcp, segment = in_flight(net)
    report_too_big(net, segment.packet, 600)
    stays_large(tcp)


@case("RFC5927 7.2", families=BOTH)
def too_big_with_a_wrong_checksum_is_not_believed(net):
    tcp, segment = in_flight(net)
    layer = ICMP(type=3, code=4, nexthopmtu=1000, chksum=1) if net.family == IPV4 \
        else ICMPv6PacketTooBig(mtu=1300, cksum=1)
    net.send(net.ip(src=net.far) / layer / quoted(segment.packet))
    stays_large(tcp)


@case("RFC5927 7.2", families=BOTH)
def too_big_about_no_connection_is_not_believed(net):
    tcp, segment = in_flight(net)
    stranger = segment.packet.copy()
    stranger[TCP].dport ^= 1
    stranger.original = bytes(stranger)
    report_too_big(net, stranger, SMALL[net.family])
    stays_large(tcp)


@case("RFC5927 4.1", families=BOTH)
def too_big_that_quotes_too_little_is_not_believed(net):
    tcp, segment = in_flight(net)
    header = 20 if net.family == IPV4 else 40
    for length in (0, 1, header - 1, header, header + 1, header + 4, header + 7):
        layer = ICMP(type=3, code=4, nexthopmtu=1000) if net.family == IPV4 else ICMPv6PacketTooBig(mtu=1300)
        net.send(net.ip(src=net.far) / layer / Raw(segment.packet.original[:length]))
    stays_large(tcp)
