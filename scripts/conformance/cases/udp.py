"""UDP (RFC 768, RFC 1122 section 4.1, RFC 8200 section 8.1)."""

from scapy.layers.inet import UDP
from scapy.packet import Raw

from suite.cases import BOTH, case
from suite.errors import PORT_UNREACHABLE, is_summed, transport
from suite.fragments import cut_every, payload
from suite.setting import CLOSED, ECHO, IPV4, IPV6

PORTS = ("RFC1122 4.1.3.1 ports", "RFC4443 3.1 port")
UDP_NUMBER = 17


def expect_echo(net, packet, data, within=1.0):
    """The datagram that the echo service answers one with: these data, to whom it came from, from where it went."""
    def wanted(answer):
        return UDP in answer and answer[UDP].dport == packet[UDP].sport

    answer = net.expect_whole(wanted, within)
    assert (answer.src, answer.dst, answer[UDP].sport) == (net.target, packet.src, ECHO), answer.summary()
    assert transport(answer)[8:] == data, f"{len(transport(answer)) - 8} octets came, {len(data)} were sent"
    assert answer[UDP].len == 8 + len(data), answer[UDP].len
    return answer


def echo(net, data, **how):
    """Sends a datagram that has to come back."""
    packet = net.udp(data, **how)
    net.send(packet)
    return expect_echo(net, packet, data)


def still_echoes(net):
    """Nothing has come, and another datagram comes back."""
    net.expect_nothing()
    echo(net, b"are you there?")


def bare(net, data):
    """An IP datagram of UDP that is what it is."""
    return net.ip(**{"proto" if net.family == IPV4 else "nh": UDP_NUMBER}) / Raw(data)


def checksum_of(packet):
    """The checksum that a datagram goes out with."""
    return int.from_bytes(payload(packet)[6:8], "big")


# What is delivered


@case("RFC768 data", families=BOTH)
def a_datagram_comes_back_as_it_was_sent(net):
    echo(net, b"hello")


@case("RFC768 data", families=BOTH)
def a_datagram_without_data_is_a_datagram(net):
    echo(net, b"")


@case("RFC768 data", families=BOTH)
def a_datagram_may_have_an_odd_number_of_octets(net):
    for length in (1, 3, 255, 1451):
        echo(net, b"\xA5" * length)


@case("RFC768 data", "RFC1122 3.3.2 size", families=BOTH)
def the_largest_datagram_comes_back(net):
    data = bytes(range(256)) * 255 + bytes(227)
    packet = net.udp(data)
    net.send(*cut_every(packet, 1448))
    expect_echo(net, packet, data, within=3.0)


@case("RFC768 data", families=BOTH)
def datagrams_stay_apart(net):
    port = next(net.ports)
    for data in (b"one", b"", b"two", b"three"):
        net.send(net.udp(data, sport=port))
    for data in (b"one", b"", b"two", b"three"):
        expect_echo(net, net.udp(data, sport=port), data)


@case("RFC1122 3.3.4.2 source", families=BOTH)
def everyone_gets_its_own_answer_from_the_address_it_has_asked(net):
    packets = [net.udp(bytes([number]) * 9, sport=5000 + number, ip=dict(src=net.host(number))) for number in range(3)]
    packets.append(net.udp(b"from afar", ip=dict(src=net.far)))
    net.send(*packets)
    for packet in reversed(packets):
        expect_echo(net, packet, bytes(packet[UDP].payload))


@case("RFC1122 3.3.6 source", "RFC1122 3.2.1.3 source")
def an_answer_to_a_broadcast_does_not_come_from_it(net):
    # Nobody has to answer one.
    for dst in ("255.255.255.255", "10.9.0.255"):
        net.send(net.udp(b"to all of you", ip=dict(dst=dst)))
    net.expect_nothing(where=lambda packet: packet.src != net.target)
    echo(net, b"to you")


# Checksums


@case("RFC768 no checksum")
def a_datagram_without_a_checksum_is_taken(net):
    echo(net, b"hello", chksum=0)


@case("RFC8200 8.1 no checksum", families=(IPV6,))
def a_datagram_without_a_checksum_is_dropped(net):
    net.send(net.udp(b"hello", chksum=0), net.udp(b"hello", dport=CLOSED, chksum=0))
    still_echoes(net)


@case("RFC1122 4.1.3.4 verify", "RFC768 checksum", families=BOTH)
def a_datagram_with_a_wrong_checksum_is_dropped(net):
    for chksum in (1, 0x1234, 0xFFFF):
        net.send(net.udp(b"hello", chksum=chksum))
    still_echoes(net)


@case("RFC1122 4.1.3.4 verify", "RFC768 checksum", families=BOTH)
def every_octet_counts_in_a_checksum(net):
    packet = bytes(net.udp(b"odd"))
    for at in range(len(packet) - 11, len(packet)):
        turned = bytearray(packet)
        turned[at] ^= 0x10
        net.send(bytes(turned))
    still_echoes(net)


@case("RFC768 checksum", families=BOTH)
def a_checksum_covers_the_addresses(net):
    # Right for another source: of what has gone astray.
    packet = net.udp(b"hello")
    other = net.udp(b"hello", sport=packet[UDP].sport, ip=dict(src=net.host(9)))
    packet[UDP].chksum = checksum_of(other)
    net.send(packet)
    still_echoes(net)


@case("RFC1122 4.1.3.4 verify", families=BOTH)
def a_wrong_checksum_draws_no_error(net):
    net.send(net.udp(b"hello", dport=CLOSED, chksum=0x1234))
    still_echoes(net)


@case("RFC1122 4.1.3.4 generate", "RFC8200 8.1 generate", families=BOTH)
def what_is_sent_has_a_checksum(net):
    for data in (b"", b"x", b"xy", bytes(1000)):
        answer = echo(net, data)
        assert answer[UDP].chksum != 0 and is_summed(answer)


@case("RFC768 checksum of zero", "RFC8200 8.1 checksum of zero", families=BOTH)
def a_checksum_of_zero_is_sent_as_ones(net):
    # The answer has the same addresses and ports, and so the same sum: data that make it zero are found by this one.
    packet = net.udp(b"\0\0")
    data = checksum_of(packet).to_bytes(2, "big")
    assert echo(net, data, sport=packet[UDP].sport)[UDP].chksum == 0xFFFF


# Lengths


@case("RFC768 length", families=BOTH)
def a_length_shorter_than_the_header_is_none(net):
    for length in range(1, 8):
        net.send(net.udp(b"hello", len=length))
    still_echoes(net)


@case("RFC768 length", families=BOTH,
      linux={IPV6: "takes a length of zero for a jumbogram's without a look for the option (__udp6_lib_rcv; RFC 2675)"})
def a_length_of_zero_is_none(net):
    net.send(net.udp(b"hello", len=0))
    still_echoes(net)


@case("RFC768 length", families=BOTH)
def a_datagram_of_which_the_end_is_missing_is_dropped(net):
    for missing in (1, 8, 1000):
        net.send(net.udp(b"hello", len=13 + missing))
    still_echoes(net)


@case("RFC768 length", families=BOTH)
def what_stands_behind_the_length_is_no_data(net):
    packet = net.udp(b"hello")
    # The checksum is that of a datagram of its own: what follows it is no part.
    net.send(bare(net, payload(packet) + b"surplus"))
    expect_echo(net, packet, b"hello")


@case("RFC768 length", families=BOTH)
def half_a_header_is_no_datagram(net):
    packet = net.udp(b"")
    for length in range(8):
        net.send(bare(net, bytes(packet)[-8:][:length]))
    still_echoes(net)


# Ports


@case(*PORTS, families=BOTH)
def a_port_where_nobody_listens_is_unreachable(net):
    packet = net.udp(b"is anybody there?", dport=CLOSED)
    net.send(packet)
    net.expect_error(PORT_UNREACHABLE, packet)


@case(*PORTS, families=BOTH)
def a_port_is_unreachable_for_a_datagram_without_data_too(net):
    packet = net.udp(b"", dport=CLOSED)
    net.send(packet)
    net.expect_error(PORT_UNREACHABLE, packet)


@case("RFC768 source port", *PORTS, families=BOTH)
def a_datagram_without_a_source_port_is_a_datagram(net):
    packet = net.udp(b"hello", dport=CLOSED, sport=0)
    net.send(packet)
    net.expect_error(PORT_UNREACHABLE, packet)


@case("RFC768 source port", families=BOTH)
def a_datagram_without_a_source_port_does_the_service_no_harm(net):
    # Whether there is an answer to port 0 is the service's to decide.
    net.send(net.udp(b"hello", sport=0))
    net.expect_nothing(where=lambda packet: UDP not in packet or packet[UDP].dport != 0)
    echo(net, b"hello")


@case("RFC1122 3.2.2 no error about many")
def a_broadcast_for_a_closed_port_draws_no_error(net):
    for dst in ("255.255.255.255", "10.9.0.255", "224.0.0.1"):
        net.send(net.udp(b"anybody?", dport=CLOSED, ip=dict(dst=dst)))
    still_echoes(net)


@case("RFC4443 2.4 e.3 multicast", families=(IPV6,))
def a_multicast_for_a_closed_port_draws_no_error(net):
    net.send(net.udp(b"anybody?", dport=CLOSED, ip=dict(dst="ff02::1")))
    still_echoes(net)
