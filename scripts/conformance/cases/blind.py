"""TCP: what somebody who sees nothing of a connection may try against it (RFC 5961)."""

import time

import pytest
from scapy.layers.inet import TCP

from suite.cases import BOTH, case

FLOOD = 1000


def echoes(tcp, data=b"still there?"):
    """Fails if a connection to echo does not work."""
    tcp.send(data)
    assert tcp.read(len(data)) == data


def flood(tcp, **segment):
    """Sends a segment very often, and counts the answers, late ones too."""
    packet = bytes(tcp.segment(**segment))
    for number in range(FLOOD):
        tcp.net.send(packet)
        if number % 50 == 49:
            time.sleep(0.005)  # a queue may be short
    return len(tcp.collect(0.5))


# Resets

@case("RFC5961 3.2 outside", families=BOTH)
def resets_all_over_the_sequence_space_end_nothing(net):
    tcp = net.connect()
    for number in range(1, 64):
        tcp.send(flags="R", seq=tcp.nxt + (number << 26))
    tcp.expect_nothing(flags="A")
    echoes(tcp)


@case("RFC5961 3.2 in window", families=BOTH)
def resets_all_over_the_window_end_nothing(net):
    tcp = net.connect()
    for offset in range(1, 60_000, 997):
        tcp.send(flags="R", seq=tcp.nxt + offset)
    tcp.expect("A", ack=1)
    echoes(tcp)


@case("RFC5961 3.2 outside", "RFC5961 3.2 in window")
@pytest.mark.parametrize("offset", [-1, 1])
def a_reset_that_is_one_off_ends_nothing(net, offset):
    tcp = net.connect()
    echoes(tcp)
    tcp.send(flags="R", seq=tcp.nxt + offset)
    echoes(tcp)


@case("RFC5961 3.2 challenge", families=BOTH)
@pytest.mark.parametrize("flags", ["R", "S"])
def a_challenge_says_what_is_sent_and_awaited(net, flags):
    tcp = net.connect()
    echoes(tcp)
    tcp.send(flags=flags, seq=tcp.nxt + 100)
    tcp.expect_next("A", seq=tcp.rcv, ack=tcp.nxt, length=0)


@case("RFC5961 3.2 challenge", families=BOTH)
def who_has_lost_the_connection_ends_it_when_challenged(net):
    tcp = net.connect()
    echoes(tcp)
    # A peer that has begun anew and knows nothing.
    tcp.send(flags="S", seq=123_456)
    challenge = tcp.expect("A", ack=tcp.nxt)
    tcp.send(flags="R", seq=challenge.ack)
    tcp.send(ack=77)
    tcp.expect_reset(flags="R", seq=77)


@case("RFC5961 3.2 exact")
def what_a_reset_acknowledges_does_not_matter(net):
    tcp = net.connect()
    tcp.send(flags="RA", ack=-12345)
    tcp.send(ack=77)
    tcp.expect_next("R", seq=77)


# SYNs

@case("RFC5961 4.2")
@pytest.mark.parametrize("offset", [-100_000, -1, 0, 1, 1000, 100_000, 1 << 31])
def a_syn_with_whatever_number_draws_a_challenge(net, offset):
    tcp = net.connect()
    echoes(tcp)
    tcp.send(flags="S", seq=tcp.nxt + offset)
    tcp.expect_next("A", seq=tcp.rcv, ack=tcp.nxt)
    echoes(tcp)


@case("RFC5961 4.2")
def the_data_of_a_blind_syn_is_not_taken(net):
    tcp = net.connect()
    tcp.send(b"evil", flags="S", seq=tcp.nxt - 1)
    tcp.send(b"evil", flags="S", seq=tcp.nxt)
    echoes(tcp)


# Data

@case("RFC5961 5.2 range", "RFC9293 MAY-12")
@pytest.mark.parametrize("ack", [-70_000, -(1 << 24), -(1 << 30), 1 << 16, 1 << 24, 1 << 30])
def data_with_a_guessed_acknowledgement_is_not_taken(net, ack):
    tcp = net.connect()
    echoes(tcp)
    tcp.send(b"evil", seq=tcp.nxt, ack=tcp.rcv + ack)
    tcp.expect_nothing(ack=lambda ack: ack > tcp.nxt)
    echoes(tcp)


@case("RFC5961 5.2 range", families=BOTH)
def what_acknowledges_what_is_long_past_draws_an_acknowledgement(net):
    tcp = net.connect()
    echoes(tcp)
    tcp.send(seq=tcp.nxt, ack=tcp.rcv - 70_000)
    tcp.expect("A", seq=tcp.rcv, ack=tcp.nxt)


def with_a_small_window(net):
    """A connection that never had a window of more than 1000, and has had 3000 bytes acknowledged."""
    tcp = net.connect(window=1000)
    for _ in range(6):
        echoes(tcp, bytes(500))
    net.is_alive()  # by now the last acknowledgement has been taken in
    return tcp


@case("RFC5961 5.2 range", "RFC9293 MAY-12")
def acknowledgements_are_believed_no_further_back_than_the_largest_window(net):
    tcp = with_a_small_window(net)
    tcp.send(b"evil", seq=tcp.nxt, ack=tcp.rcv - 1500)
    tcp.expect("A", ack=tcp.nxt)
    tcp.expect_nothing(ack=lambda ack: ack > tcp.nxt)
    echoes(tcp)


@case("RFC5961 5.2 duplicate", families=BOTH)
def data_with_an_acknowledgement_that_was_overtaken_is_taken(net):
    tcp = with_a_small_window(net)
    tcp.send(b"late", ack=tcp.rcv - 900)
    assert tcp.read(4) == b"late"


# Floods

@case("RFC5961 7")
@pytest.mark.parametrize("flags, offset", [("R", 100), ("S", 100), ("S", -100_000)], ids=["resets", "SYNs", "old SYNs"])
def a_flood_draws_few_challenges_and_ends_nothing(net, flags, offset):
    tcp = net.connect()
    answers = flood(tcp, flags=flags, seq=tcp.nxt + offset)
    # RFC 5961 proposes 10 in 5 s.
    assert 1 <= answers <= FLOOD // 4, f"{FLOOD} segments drew {answers} answers"
    echoes(tcp)


@case("RFC5961 7")
def a_flood_of_impossible_acknowledgements_draws_few_answers(net):
    tcp = net.connect()
    answers = flood(tcp, ack=1 << 20)
    assert 1 <= answers <= FLOOD // 4, f"{FLOOD} segments drew {answers} answers"
    echoes(tcp)


@case("RFC5961 7")
def a_flood_of_old_acknowledgements_draws_few_answers(net):
    tcp = net.connect()
    echoes(tcp)
    answers = flood(tcp, ack=tcp.rcv - 100_000)
    assert 1 <= answers <= FLOOD // 4, f"{FLOOD} segments drew {answers} answers"
    echoes(tcp)


@case("RFC5961 7", families=BOTH)
def a_flood_against_one_connection_leaves_others_their_challenges(net):
    victim, other = net.connect(), net.connect()
    flood(victim, flags="R", seq=victim.nxt + 100)
    other.send(flags="S", seq=other.nxt + 100)
    # A stack may have one purse for all, as RFC 5961 has it, and it may be full again after 5 s.
    if not other.collect(0.5):
        time.sleep(5)
        other.send(flags="S", seq=other.nxt + 100)
        other.expect("A", ack=1)
    echoes(other)


@case("RFC9293 MUST-3", families=BOTH)
def a_reset_with_a_wrong_checksum_ends_nothing(net):
    tcp = net.connect()
    tcp.send(flags="R", chksum=0x1234)
    tcp.expect_nothing()
    echoes(tcp)


@case("RFC9293 3.10.7.1")
@pytest.mark.parametrize("what", ["port", "address"])
def a_reset_from_elsewhere_ends_nothing(net, what):
    tcp = net.connect()
    packet = tcp.segment(flags="R")
    if what == "port":
        packet[TCP].sport ^= 1
    else:
        packet.src = net.host(1)
    net.send(packet)
    net.expect_nothing(TCP)
    echoes(tcp)
