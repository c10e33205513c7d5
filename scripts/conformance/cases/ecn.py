"""TCP: explicit congestion notification (RFC 3168 section 6.1), where the target negotiates it."""

import time

import pytest

from suite.cases import BOTH, case
from suite.setting import CHARGEN, DISCARD
from suite.tcp import MSS

NOT_ECT, ECT1, ECT0, CE = range(4)
SIZE = 1000


def connect(net, port=DISCARD, trip=0.0):
    """A connection that uses ECN; or the case is not applicable."""
    tcp = net.tcp(port)
    tcp.send(flags="SEC", options=[(MSS, SIZE)])
    answer = tcp.expect("SA")
    if "E" not in answer.flags:
        pytest.skip("the target has no ECN")
    tcp.window = 65535
    time.sleep(trip)
    tcp.send()
    return tcp


def mark(segment):
    """The ECN field of the packet that a segment came in."""
    ip = segment.packet.firstlayer()
    return (ip.tos if ip.version == 4 else ip.tc) & 3


def marked(tcp, data):
    """Sends data that met congestion on its way."""
    tcp.send(data, ip={"tos": CE})


@case("RFC3168 6.1.1 SYN-ACK", families=BOTH)
def a_syn_that_asks_for_ecn_is_answered_by_yes_or_no(net):
    tcp = net.tcp()
    tcp.send(flags="SEC", options=[(MSS, SIZE)])
    answer = tcp.expect("SA", ack=1)
    assert "C" not in answer.flags
    tcp.send(b"either way")
    tcp.window = 65535
    assert tcp.read(10) == b"either way"


@case("RFC3168 6.1.1 plain SYN", "RFC3168 6.1.1 no ECT", families=BOTH)
def without_ecn_nothing_is_ecn_capable(net):
    tcp = net.tcp()
    tcp.open()
    answer = tcp.expect("SA")
    assert not set("EC") & set(answer.flags) and mark(answer) == NOT_ECT
    tcp.window = 65535
    tcp.send()
    tcp.send(b"plain", ip={"tos": CE})
    answers = [tcp.expect("A", data=b"plain"), *tcp.collect(0.1)]
    assert all(mark(segment) == NOT_ECT and not set("EC") & set(segment.flags) for segment in answers), answers


@case("RFC3168 6.1.1 SYN-ACK", "RFC3168 6.1.1 no ECT", families=BOTH)
def a_syn_ack_is_not_ecn_capable(net):
    tcp = net.tcp()
    tcp.send(flags="SEC", options=[(MSS, SIZE)])
    assert mark(tcp.expect("SA")) == NOT_ECT


@case("RFC3168 6.1.2 data", families=BOTH)
def new_data_is_ecn_capable(net):
    tcp = connect(net, CHARGEN)
    assert mark(tcp.expect("A", length=lambda length: length)) in (ECT0, ECT1)


@case("RFC3168 6.1.4 pure ACK", families=BOTH)
def a_pure_ack_is_not_ecn_capable(net):
    tcp = connect(net)
    tcp.send(b"discarded", ip={"tos": ECT0})
    assert mark(tcp.expect("A", length=0, ack=10)) == NOT_ECT


@case("RFC3168 6.1.5 retransmitted")
def what_is_sent_again_is_not_ecn_capable(net):
    tcp = connect(net, port=7)
    tcp.send(b"echo")
    assert mark(tcp.expect("A", data=b"echo")) in (ECT0, ECT1)
    assert mark(tcp.expect("A", seq=1, length=lambda length: length, within=4)) == NOT_ECT


@case("RFC3168 6.1.3 echo", families=BOTH)
def a_mark_is_echoed_until_the_window_was_reduced(net):
    tcp = connect(net)
    marked(tcp, b"x")
    tcp.expect("EA", ack=2)
    for number in range(3):
        tcp.send(b"x", ip={"tos": ECT0})
        tcp.expect("EA", ack=3 + number)
    tcp.send(b"x", flags="PAC", ip={"tos": ECT0})
    tcp.send(b"x", ip={"tos": ECT0})
    assert "E" not in tcp.expect("A", ack=7).flags


@case("RFC3168 6.1.3 echo")
def without_a_mark_nothing_is_echoed(net):
    tcp = connect(net)
    for number in range(5):
        tcp.send(b"x", ip={"tos": ECT0})
        assert "E" not in tcp.expect("A", ack=2 + number).flags


@case("RFC3168 6.1.2 reduce")
def an_echo_of_congestion_is_answered_by_cwr(net):
    tcp = connect(net, CHARGEN)
    first = tcp.expect("A", length=SIZE)
    newest = max([first.end] + [segment.end for segment in tcp.collect(0.05)])
    assert "C" not in first.flags
    tcp.send(ack=newest, flags="AE")
    assert "C" in tcp.expect("A", within=3, seq=newest, length=lambda length: length).flags


@case("RFC3168 6.1.2 reduce")
def an_echo_of_congestion_reduces_what_is_on_the_way(net):
    tcp = connect(net, CHARGEN, trip=0.5)
    sent = max(segment.end for segment in tcp.collect(0.1))
    tcp.send(ack=sent, flags="AE")
    came = max(segment.end for segment in tcp.collect(0.2)) - sent
    assert 0 < came < sent - 1
