"""TCP: how connections begin (RFC 9293 sections 3.4, 3.5, 3.7.1, 3.10.7.1, 3.10.7.2 and 3.10.7.4; RFC 6528)."""

import itertools
import time

import pytest
from scapy.layers.inet import TCP

from suite.cases import BOTH, case
from suite.setting import CHARGEN, CLOSED, IPV4, IPV6
from suite.tcp import ANY, MSS, SACK_OK, TIMESTAMP, WRAP, WSCALE

# Options as they are on the wire.
NOP, END = b"\x01", b"\x00"
MSS_OF_100 = bytes([2, 4, 0, 100])
SCALE_OF_3 = bytes([3, 3, 3])
SACK_PERMITTED = bytes([4, 2])
STAMP = bytes([8, 10, 0, 0, 0, 1, 0, 0, 0, 0])
UNKNOWN = bytes([253, 8]) + b"strange!"[:6]  # RFC 4727: for experiments
SHORT_UNKNOWN = bytes([254, 2])
COOKIE_REQUEST = bytes([34, 2])  # RFC 7413


def padded(options):
    """Options up to the next word boundary."""
    return options + END * (-len(options) % 4)


def rows(table):
    """Parameters with readable names: what a case is told, by its name."""
    return dict(argvalues=list(table.values()), ids=list(table))


def open_raw(net, options, port=CHARGEN, window=65535):
    """A connection whose SYN has these bytes for options."""
    tcp = net.tcp(port)
    tcp.window = window
    tcp.send(flags="S", raw_options=padded(options))
    tcp.expect("SA", ack=1)
    tcp.send()
    return tcp


def longest(tcp, for_=0.3):
    """The length of the longest segment that chargen sends of its own accord."""
    return max((segment.length for segment in tcp.collect(for_)), default=0)


def works(tcp, data=b"does it work?"):
    """Fails if a connection to echo is not established, or not any more."""
    tcp.send(data)
    assert tcp.read(len(data)) == data


def stands(net):
    """Fails if the target takes no new connection."""
    works(net.connect())


# A SYN and its answer

@case("RFC9293 MUST-14", families=BOTH)
def a_syn_draws_a_syn_ack_with_an_mss(net):
    tcp = net.tcp()
    tcp.open()
    tcp.expect("SA", seq=0, ack=1, options={MSS: ANY})


@case("RFC9293 MUST-3", families=BOTH)
def a_syn_with_a_wrong_checksum_draws_nothing(net):
    tcp = net.tcp()
    tcp.open(chksum=0x1234)
    tcp.expect_nothing()


@case("RFC9293 MUST-3", families=BOTH)
def a_checksum_of_zero_is_as_wrong_as_any(net):
    tcp = net.tcp()
    tcp.open(chksum=0)
    tcp.expect_nothing()
    stands(net)


@case("RFC9293 MUST-60", families=BOTH)
def what_is_sent_to_echo_comes_back(net):
    tcp = net.connect()
    tcp.send(b"hello")
    tcp.expect("A", ack=6)
    assert tcp.read(5) == b"hello"
    tcp.send(flags="FA")
    tcp.expect("FA", ack=7)
    tcp.send()
    tcp.expect_nothing()


@case("RFC9293 MUST-67", families=BOTH)
def the_mss_of_the_syn_ack_fits_the_link(net):
    tcp = net.tcp()
    tcp.open()
    tcp.expect("SA", options={MSS: 1460 if net.family == IPV4 else 1440})


@case("RFC9293 3.10.7.2 syn")
def reserved_bits_do_not_matter(net):
    tcp = net.tcp()
    # Not the one beside CWR, which has come to mean something (RFC 9768).
    tcp.open(reserved=0b110)
    segment = tcp.expect("SA", ack=1)
    assert segment.layer.reserved == 0, f"the target has set reserved bits: {segment.layer.reserved:#b}"
    tcp.send(reserved=0b110)
    works(tcp)


@case("RFC9293 3.10.7.2 syn")
@pytest.mark.parametrize("flags", **rows({"without the flag": "S", "with the flag": "SU"}))
def an_urgent_pointer_on_a_syn_does_not_matter(net, flags):
    tcp = net.tcp()
    tcp.open(urgptr=5) if flags == "S" else tcp.send(flags=flags, urgptr=5)
    tcp.expect("SA", ack=1)
    tcp.send()
    works(tcp)


@case("RFC9293 MUST-7")
@pytest.mark.parametrize("words", **rows({"none": 0, "less than a header": 4, "past the end": 15}))
def a_syn_with_an_impossible_data_offset_opens_nothing(net, words):
    tcp = net.tcp()
    tcp.send(flags="S", options=[], dataofs=words)
    tcp.expect_nothing(flags="SA")
    stands(net)


@case("RFC9293 MUST-7")
@pytest.mark.parametrize("port", **rows({"from": "sport", "to": "dport"}))
def port_zero_hurts_nobody(net, port):
    tcp = net.tcp()
    tcp.send(flags="S", **{port: 0})
    tcp.expect_nothing(flags="SA")
    stands(net)


# Options

PLACES = {
    "first": MSS_OF_100 + NOP + SCALE_OF_3 + SACK_PERMITTED,
    "after padding": NOP * 7 + MSS_OF_100,
    "at an odd offset": SCALE_OF_3 + MSS_OF_100,
    "last of all": SACK_PERMITTED + STAMP + NOP + SCALE_OF_3 + MSS_OF_100,
    "after an unknown one": UNKNOWN + MSS_OF_100,
    "after an unknown one without content": SHORT_UNKNOWN + MSS_OF_100,
    "between unknown ones": UNKNOWN + MSS_OF_100 + UNKNOWN,
    "before an unknown one": MSS_OF_100 + SHORT_UNKNOWN,
    "after a Fast Open cookie request": COOKIE_REQUEST + MSS_OF_100,
    "in a full header": NOP * 36 + MSS_OF_100,
}


@case("RFC9293 MUST-6", "RFC9293 MUST-64", "RFC9293 MUST-4")
@pytest.mark.parametrize("options", **rows(PLACES))
def the_mss_is_found_wherever_it_stands(net, options):
    assert 0 < longest(open_raw(net, options)) <= 100


@case("RFC9293 MUST-6", "RFC9293 MUST-64")
@pytest.mark.parametrize("options", **rows({
    "first": SCALE_OF_3 + NOP + MSS_OF_100, "between unknown ones": UNKNOWN + SCALE_OF_3 + SHORT_UNKNOWN + MSS_OF_100,
    "last of all": MSS_OF_100 + SACK_PERMITTED + STAMP + SCALE_OF_3}))
def the_window_scale_is_found_wherever_it_stands(net, options):
    tcp = net.tcp(CHARGEN)
    tcp.send(flags="S", raw_options=padded(options), window=100)
    tcp.expect("SA", ack=1)
    tcp.needs(WSCALE)
    tcp.window = 100
    tcp.send()
    assert 1 + 100 < max(segment.end for segment in tcp.collect(0.3)) <= 1 + 800


@case("RFC9293 MUST-4")
def what_stands_behind_the_end_of_options_is_none(net):
    # Without an MSS, 536 is assumed.
    assert 100 < longest(open_raw(net, END + MSS_OF_100)) <= 536


MALFORMED = {
    "length 0": bytes([253, 0]),
    "length 1": bytes([253, 1]),
    "length past the end": bytes([253, 40, 0, 0]),
    "the largest length": bytes([253, 255]),
    "a kind and no length": NOP * 3 + bytes([253]),
    "an MSS of length 0": bytes([2, 0, 5, 180]),
    "an MSS of length 2": bytes([2, 2]),
    "an MSS of length 3": bytes([2, 3, 5]),
    "an MSS of length 6": bytes([2, 6, 5, 180, 0, 0]),
    "an MSS that is cut off": NOP + bytes([2, 4, 5]),
    "a window scale of length 2": bytes([3, 2]),
    "timestamps that are cut off": bytes([8, 10, 0, 0]),
    "SACK of length 2": bytes([5, 2]),
}


@case("RFC9293 MUST-7")
@pytest.mark.parametrize("option", **rows(MALFORMED))
def a_malformed_option_in_a_syn_hurts_nobody(net, option):
    tcp = net.tcp()
    # Whether the SYN is taken is the target's affair; what stands before is an option like any.
    tcp.send(flags="S", raw_options=padded(MSS_OF_100 + option))
    if any("S" in segment.flags for segment in tcp.collect(0.2)):
        tcp.send()
        tcp.send(bytes(1000))
        assert longest(tcp) <= 100
    stands(net)


@case("RFC9293 MUST-7", "RFC9293 MUST-5")
@pytest.mark.parametrize("option", **rows(MALFORMED))
def a_malformed_option_in_a_later_segment_hurts_nobody(net, option):
    tcp = net.connect()
    tcp.send(b"hello", raw_options=padded(option))
    segments = tcp.collect(0.2)
    if not any("R" in segment.flags for segment in segments):
        # It has been taken, or not: said once more, it is there once.
        tcp.send(b"hello", seq=1)
        assert tcp.read(5) == b"hello"
        works(tcp)
    stands(net)


@case("RFC9293 MUST-5", "RFC9293 MUST-6", families=BOTH)
def unknown_options_are_skipped_in_every_segment(net):
    tcp = net.tcp()
    tcp.send(flags="S", raw_options=padded(UNKNOWN + MSS_OF_100))
    tcp.expect("SA", ack=1)
    tcp.send(raw_options=padded(UNKNOWN))
    tcp.send(b"hello", raw_options=padded(SHORT_UNKNOWN + UNKNOWN))
    assert tcp.read(5) == b"hello"
    tcp.send(flags="FA", raw_options=padded(UNKNOWN))
    tcp.expect("FA", ack=7)


@case("RFC9293 MUST-15/v4")
def without_an_mss_536_is_assumed(net):
    assert 0 < longest(open_raw(net, b"")) <= 536


@case("RFC9293 MUST-15/v6", families=(IPV6,))
def without_an_mss_1220_is_assumed_over_ipv6(net):
    assert 0 < longest(open_raw(net, b"")) <= 1220


@case("RFC9293 MUST-16", families=BOTH)
@pytest.mark.parametrize("mss", [64, 536, 1400])
def no_segment_is_longer_than_the_mss(net, mss):
    tcp = net.connect(CHARGEN, mss=mss)
    lengths = [segment.length for segment in tcp.collect(0.3)]
    # It is to be filled, too (SHLD-28), once there is enough to say.
    assert max(lengths) == mss, lengths


@case("RFC9293 MUST-16", families=BOTH)
@pytest.mark.parametrize("mss", [1461, 65535])
def an_mss_beyond_the_link_is_not_used(net, mss):
    tcp = net.connect(CHARGEN, mss=mss)
    assert 0 < longest(tcp) <= (1460 if net.family == IPV4 else 1440)


@case("RFC9293 MUST-14")
@pytest.mark.parametrize("mss", [0, 1])
def an_impossible_mss_hurts_nobody(net, mss):
    tcp = net.connect(CHARGEN, mss=mss)
    tcp.collect(0.2)
    stands(net)


@case("RFC9293 MUST-65")
def only_a_syn_has_an_mss(net):
    tcp = net.connect(CHARGEN)
    tcp.read(10_000)
    tcp.send(flags="FA")
    tcp.collect(0.2)
    layers = [seen.packet[TCP] for seen in net.wire.history if seen.packet.haslayer(TCP)]
    later = [layer for layer in layers if layer.sport == CHARGEN and "S" not in layer.flags]
    assert later and not any(name == MSS for layer in later for name, _ in layer.options)


@case("RFC7323 2.2 both", families=BOTH)
def options_that_the_syn_does_not_offer_are_not_in_the_answer(net):
    tcp = net.tcp()
    tcp.open()
    tcp.expect("SA", options={WSCALE: None, SACK_OK: None, TIMESTAMP: None})


@case("RFC7323 2.2 scale")
def the_window_is_scaled_by_what_the_syn_has_said(net):
    tcp = net.connect(CHARGEN, mss=100, wscale=7, window=10)
    tcp.needs(WSCALE)
    assert 1 + 10 < max(segment.end for segment in tcp.collect(0.3)) <= 1 + (10 << 7)


@case("RFC7323 2.2 scale")
def the_window_is_not_scaled_if_the_syn_has_not_said_so(net):
    tcp = net.connect(CHARGEN, mss=100, window=1000)
    assert 1 < max(segment.end for segment in tcp.collect(0.3)) <= 1 + 1000


@case("RFC7323 2.2 only SYN")
def a_window_scale_after_the_handshake_is_ignored(net):
    tcp = net.connect(CHARGEN, mss=100, wscale=0, window=1000)
    tcp.needs(WSCALE)
    tcp.send(options=[("NOP", None), (WSCALE, 7)])
    assert 1 < max(segment.end for segment in tcp.collect(0.3)) <= 1 + 1000


@case("RFC7323 2.3 largest")
@pytest.mark.parametrize("shift", [14, 15, 255])
def a_window_scale_beyond_14_counts_as_14(net, shift):
    tcp = net.connect(CHARGEN, wscale=shift, window=1)
    tcp.needs(WSCALE)
    tcp.read(100_000, within=10)  # by now the congestion window is no bound
    tcp.send()
    edge = tcp.rcv + (1 << 14)
    assert edge - (1 << 13) < max(segment.end for segment in tcp.collect(0.3)) <= edge


@case("RFC7323 2.2 scale", "RFC9293 SHLD-14")
def the_window_of_a_syn_ack_is_not_scaled(net):
    tcp = net.tcp()
    tcp.open(wscale=0)
    first = tcp.expect("SA", ack=1)
    tcp.needs(WSCALE)
    tcp.send()
    tcp.send(b"x")
    second = tcp.expect("A", ack=2)
    # A scaled one would promise more than the next one keeps.
    assert 1 + first.window <= 2 + (second.window << tcp.options[WSCALE])


# What a SYN carries besides

@case("RFC9293 3.10.7.2 syn", families=BOTH)
def data_in_a_syn_is_taken_once_or_asked_for_again(net):
    tcp = net.tcp()
    tcp.send(b"hello", flags="S", options=[(MSS, 1460)])
    tcp.expect("SA", ack=lambda ack: ack in (1, 6))
    tcp.send(b"hello", seq=1)
    tcp.send(b", world")
    assert tcp.read(12) == b"hello, world"
    tcp.expect_nothing(length=lambda length: length > 0)


@case("RFC9293 3.10.7.2 syn")
def a_fin_in_a_syn_does_not_keep_the_listener_from_listening(net):
    tcp = net.tcp()
    tcp.send(flags="SF", options=[])
    tcp.collect(0.2)
    stands(net)


@case("RFC9293 3.10.7.2 reset")
@pytest.mark.parametrize("flags", ["R", "RS", "RA", "RSA", "RF"])
def a_listener_ignores_resets(net, flags):
    tcp = net.tcp()
    tcp.send(flags=flags, seq=0, options=[])
    tcp.expect_nothing()
    tcp.open()
    tcp.expect("SA", ack=1)


@case("RFC9293 3.10.7.2 ack")
@pytest.mark.parametrize("flags", ["A", "SA", "PA", "FA", "SFA"])
def an_acknowledgement_to_a_listener_draws_a_reset_at_its_number(net, flags):
    tcp = net.tcp()
    tcp.irs = 12345
    tcp.send(b"data" if "P" in flags else b"", flags=flags, ack=678, options=[])
    tcp.expect_next("R", seq=678)


@case("RFC9293 3.10.7.2 other")
@pytest.mark.parametrize("flags", **rows({"a FIN": "F", "data": "P", "urgent data": "PU", "no flag": ""}))
def a_listener_ignores_what_is_neither_syn_nor_acknowledgement(net, flags):
    tcp = net.tcp()
    tcp.send(b"x", flags=flags, urgptr=1)
    tcp.expect_nothing()
    stands(net)


# Nobody there

@case("RFC9293 3.10.7.1", families=(IPV6,))
def a_closed_port_answers_alike_over_ipv6(net):
    tcp = net.tcp(CLOSED)
    tcp.irs = 0
    tcp.open()
    tcp.expect_next("RA", seq=0, ack=1)
    tcp.send(ack=678)
    tcp.expect_next("R", seq=678)


NUMBERED_BY_ITSELF = {
    "a SYN": ("S", b""), "a SYN with data": ("S", b"hello"), "a SYN with FIN": ("SF", b""),
    "a SYN with FIN and data": ("SF", b"hello"),
    "a FIN": ("F", b""), "data": ("P", b"hello"), "no flag": ("", b""),
}


@case("RFC9293 3.10.7.1")
@pytest.mark.parametrize("flags, data", **rows(NUMBERED_BY_ITSELF))
def at_a_closed_port_what_acknowledges_nothing_draws_a_reset_that_acknowledges_it_all(net, flags, data):
    tcp = net.tcp(CLOSED)
    tcp.irs = 0
    tcp.send(data, flags=flags, seq=0, options=[])
    tcp.expect_next("RA", seq=0, ack=len(data) + ("S" in flags) + ("F" in flags))


@case("RFC9293 3.10.7.1")
@pytest.mark.parametrize("flags", ["A", "SA", "PA", "FA"])
def at_a_closed_port_an_acknowledgement_draws_a_reset_at_its_number(net, flags):
    tcp = net.tcp(CLOSED)
    tcp.irs = 12345
    tcp.send(b"data" if "P" in flags else b"", flags=flags, ack=678, options=[])
    tcp.expect_next("R", seq=678)


@case("RFC9293 3.10.7.1")
@pytest.mark.parametrize("flags", ["R", "RA", "RS"])
def at_a_closed_port_a_reset_draws_nothing(net, flags):
    tcp = net.tcp(CLOSED)
    tcp.send(flags=flags, seq=0, options=[])
    tcp.expect_nothing()
    net.is_alive()


GROUPS = {"the link's broadcast": "10.9.0.255", "everybody's broadcast": "255.255.255.255", "all hosts": "224.0.0.1"}
STRANGE = {"the broadcast address": "255.255.255.255", "a group": "224.0.0.1", "nobody": "0.0.0.0",
           "the target itself": "10.9.0.2", "loopback": "127.0.0.1"}
STRANGE_V6 = {"a group": "ff02::1", "the target itself": "fd09::2", "loopback": "::1"}


def draws_no_tcp(net, **addresses):
    for port in (7, CLOSED):
        net.send(net.ip(**addresses) / TCP(sport=next(net.ports), dport=port, flags="S", seq=1, options=[(MSS, 1460)]))
    net.expect_nothing(TCP)
    stands(net)


@case("RFC9293 MUST-57/opening", "RFC9293 MUST-57/validation")
@pytest.mark.parametrize("address", **rows(GROUPS))
def a_syn_to_many_draws_nothing(net, address):
    draws_no_tcp(net, dst=address)


@case("RFC9293 MUST-57/opening", families=(IPV6,))
def a_syn_to_all_nodes_draws_nothing(net):
    draws_no_tcp(net, dst="ff02::1")


@case("RFC9293 MUST-63")
@pytest.mark.parametrize("address", **rows(STRANGE))
def a_syn_from_nowhere_draws_nothing(net, address):
    draws_no_tcp(net, src=address)


@case("RFC9293 MUST-63", families=(IPV6,))
@pytest.mark.parametrize("address", **rows(STRANGE_V6))
def a_syn_from_nowhere_draws_nothing_over_ipv6(net, address):
    draws_no_tcp(net, src=address)


@case("RFC9293 MUST-63", linux="without rp_filter, fib_validate_source() knows its own addresses and no broadcast ones")
def a_syn_from_the_links_broadcast_address_draws_nothing(net):
    draws_no_tcp(net, src="10.9.0.255")


@case("RFC9293 MUST-63", families=(IPV6,),
      linux="neither ipv6_rcv() nor tcp_v6_conn_request() asks whether the source is unspecified")
def a_syn_from_the_unspecified_address_draws_nothing(net):
    draws_no_tcp(net, src="::")


# SYN-RECEIVED

def half_open(net, port=7):
    """A connection of which the target waits for the third segment."""
    tcp = net.tcp(port)
    tcp.open()
    tcp.expect("SA", seq=0, ack=1)
    return tcp


@case("RFC9293 MUST-19", "RFC9293 MUST-22")
def a_syn_ack_is_retransmitted_in_intervals_that_double(net):
    tcp = half_open(net)
    times = [net.wire.history[-1].at] + [tcp.expect_next("SA", seq=0, ack=1, within=10).at for _ in range(3)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    # RFC 6298 section 2.1: a second or more before anything is known. A stack's timers may be coarse.
    assert gaps[0] > 0.9 and all(1.6 < later / earlier < 2.5 for earlier, later in itertools.pairwise(gaps)), gaps


@case("RFC9293 3.10.7.4 sequence", families=BOTH)
def a_syn_that_comes_again_is_answered_with_the_same_number(net):
    tcp = half_open(net)
    tcp.nxt = 0
    tcp.open()
    # As an acknowledgement or as a SYN-ACK again.
    again = tcp.expect(ack=1, within=0.9)
    assert again.seq == (0 if "S" in again.flags else 1)
    tcp.send()
    works(tcp)


@case("RFC9293 3.10.7.4 ack while opening")
@pytest.mark.parametrize("ack", **rows({"nothing": 0, "one too much": 2, "far too much": 1 << 20, "long ago": -1000}))
def in_syn_received_a_wrong_acknowledgement_draws_a_reset_at_its_number(net, ack):
    tcp = half_open(net)
    tcp.send(ack=ack)
    tcp.expect_reset(flags="R", seq=ack)
    tcp.send()
    works(tcp)


@case("RFC9293 3.10.7.4 sequence")
@pytest.mark.parametrize("seq", **rows({"an old one": -1000, "one beyond the window": 200_000}))
def in_syn_received_a_segment_outside_the_window_establishes_nothing(net, seq):
    tcp = half_open(net, CHARGEN)
    tcp.send(b"x", seq=seq)
    tcp.expect("A", seq=1, ack=1, length=0)
    tcp.expect_nothing(length=lambda length: length > 0)
    tcp.send()
    tcp.read(100)


@case("RFC9293 3.10.7.4 sequence")
def in_syn_received_a_syn_ack_of_old_establishes_nothing(net):
    tcp = half_open(net, CHARGEN)
    tcp.send(flags="SA", seq=0, options=[])
    tcp.expect_nothing(length=lambda length: length > 0)
    tcp.send()
    tcp.read(100)


@case("RFC9293 3.10.7.4 no ack")
@pytest.mark.parametrize("flags", **rows({"data": "P", "a FIN": "F", "no flag": ""}))
def in_syn_received_what_acknowledges_nothing_establishes_nothing(net, flags):
    tcp = half_open(net, CHARGEN)
    tcp.send(b"x" if flags == "P" else b"", flags=flags, seq=1, ack=1)
    tcp.expect_nothing(for_=0.3, length=lambda length: length > 0)
    tcp.send()
    tcp.read(100)


@case("RFC9293 3.10.7.4 reset while opening", families=BOTH)
def in_syn_received_a_reset_returns_to_listen(net):
    tcp = half_open(net)
    tcp.send(flags="R")
    tcp.expect_nothing(for_=1.3)  # the SYN-ACK would be retransmitted
    tcp.send()
    tcp.expect_reset(flags="R", seq=1)
    stands(net)


@case("RFC9293 3.10.7.4 reset while opening")
def after_a_reset_in_syn_received_the_same_ports_may_connect(net):
    tcp = half_open(net)
    tcp.send(flags="R")
    works(net.connect(sport=tcp.sport))


@case("RFC9293 3.10.7.4 ack while opening", families=BOTH)
def data_may_come_with_the_third_segment(net):
    tcp = half_open(net)
    works(tcp)


@case("RFC9293 3.10.7.4 ack while opening")
@pytest.mark.parametrize("data", **rows({"alone": b"", "with data": b"hello"}))
def a_fin_may_come_with_the_third_segment(net, data):
    tcp = half_open(net)
    tcp.send(data, flags="FA")
    tcp.expect("FA", ack=2 + len(data))
    assert bytes(tcp.received) == data


@case("RFC9293 3.10.7.4 ack while opening")
def data_establishes_if_the_third_segment_is_lost(net):
    tcp = half_open(net)
    tcp.send(b"first ")
    tcp.send(b"second")
    assert tcp.read(12) == b"first second"


@case("RFC9293 MUST-41")
def half_open_connections_do_not_disturb_each_other(net):
    opened = [half_open(net) for _ in range(20)]
    established = net.connect()
    for tcp in reversed(opened):
        tcp.send()
        works(tcp)
    works(established)


# Initial sequence numbers

def isn(net, **how):
    """The target's next initial sequence number for such a connection, which is given up at once."""
    tcp = net.tcp(**how)
    tcp.open()
    tcp.expect("SA")
    tcp.send(flags="R")
    return tcp.irs


@case("RFC6528 3 clock", "RFC9293 MUST-8", families=BOTH)
def the_isn_of_the_same_ports_grows_with_the_time(net):
    numbers = []
    for _ in range(5):
        numbers.append(isn(net, sport=5555))
        time.sleep(0.05)
    steps = [(later - earlier) % WRAP for earlier, later in itertools.pairwise(numbers)]
    # Every 4 microseconds: 50 ms are 12,500. A clock may be faster, but nobody goes around in that time.
    assert all(1000 < step < 1 << 30 for step in steps), steps


@case("RFC6528 3 secret", "RFC9293 MUST-9", "RFC9293 SHLD-1", families=BOTH)
def the_isns_of_different_ports_have_nothing_to_do_with_each_other(net):
    assert_unrelated([isn(net) for _ in range(16)])


@case("RFC6528 3 secret", "RFC9293 MUST-9")
def the_isns_of_different_addresses_have_nothing_to_do_with_each_other(net):
    assert_unrelated([isn(net, src=net.host(number), sport=5555) for number in range(16)])


@case("RFC6528 3 secret", "RFC9293 MUST-9")
def the_isns_of_different_services_have_nothing_to_do_with_each_other(net):
    steps = [isn(net, port=port, sport=5555) for port in (7, 9, 19)]
    assert all(distance(one, other) > 1 << 20 for one, other in itertools.combinations(steps, 2)), steps


@case("RFC6528 3 secret", "RFC9293 MUST-9")
def the_isn_does_not_follow_from_the_peers(net):
    first = [isn(net, sport=5555, iss=iss) for iss in (0, 1 << 31)]
    assert distance(*first) < 1 << 30, first


def distance(one, other):
    """How far two sequence numbers are from each other, whichever is before."""
    return min((one - other) % WRAP, (other - one) % WRAP)


def assert_unrelated(numbers):
    steps = [distance(one, other) for one, other in itertools.pairwise(numbers)]
    # Of truly random ones, one step in 128 is so short.
    short = [step for step in steps if step < 1 << 24]
    assert len(short) <= 3, f"{len(short)} of {len(steps)} numbers are close to the one before: {numbers}"
    assert len(set(steps)) == len(steps), f"the same step twice: {steps}"
