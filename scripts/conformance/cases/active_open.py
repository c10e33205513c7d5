"""TCP: connections that the target opens (RFC 9293 sections 3.5, 3.7.1 and 3.10.7.3): SYN-SENT and simultaneous open.

Who connects echoes what it gets.
"""

import itertools

import pytest

from suite.cases import BOTH, case
from suite.setting import IPV4
from suite.tcp import ANY, MSS

CONNECT = ("connect",)


def syn_sent(net):
    """A connection of which the target has sent the SYN."""
    tcp = net.open_by_target()
    tcp.expect("S", seq=0, within=5)
    return tcp


def answer(tcp, **how):
    """The SYN-ACK, and what it draws."""
    how.setdefault("options", [(MSS, 1460)])
    tcp.send(flags="SA", seq=0, ack=1, **how)
    tcp.nxt = 1
    tcp.expect("A", seq=1, ack=1)


def echoes(tcp, data=b"hello"):
    tcp.send(data)
    assert tcp.read(len(data)) == data


def works(tcp):
    """Fails if the target does not wait for a SYN-ACK any more."""
    answer(tcp)
    echoes(tcp)


@case("RFC9293 MUST-14", "RFC9293 MUST-67", families=BOTH, needs=CONNECT)
def its_syn_says_what_fits_the_link_and_acknowledges_nothing(net):
    tcp = net.open_by_target()
    segment = tcp.expect("S", options={MSS: 1460 if net.family == IPV4 else 1440}, within=5)
    assert segment.layer.ack == 0 and segment.length == 0


@case("RFC9293 3.10.7.3 syn", families=BOTH, needs=CONNECT)
def a_syn_ack_draws_an_acknowledgement_and_establishes(net):
    works(syn_sent(net))


@case("RFC9293 MUST-19", "RFC9293 MUST-22", needs=CONNECT)
def its_syn_comes_again_the_same_after_a_second(net):
    tcp = net.open_by_target()
    first = tcp.expect("S", within=5)
    again = tcp.expect_next("S", seq=0, within=5)
    assert 0.9 < again.at - first.at < 4
    assert first.layer.window == again.layer.window
    works(tcp)


@case("RFC9293 MUST-19", needs=CONNECT,
      linux="net.ipv4.tcp_syn_linear_timeouts: since 6.5 the first four SYNs are sent again without backing off")
def its_syn_comes_again_in_intervals_that_double(net):
    tcp = net.open_by_target()
    times = [tcp.expect("S", within=10).at for _ in range(4)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(1.6 < later / earlier < 2.5 for earlier, later in itertools.pairwise(gaps)), gaps


@case("RFC9293 MUST-16", needs=CONNECT)
def the_mss_of_the_syn_ack_is_honoured(net):
    tcp = syn_sent(net)
    answer(tcp, options=[(MSS, 100)])
    tcp.send(bytes(1000))
    tcp.expect("A", length=lambda length: 0 < length <= 100)
    tcp.expect_nothing(length=lambda length: length > 100)


@case("RFC9293 MUST-15/v4", needs=CONNECT)
def without_an_mss_in_the_syn_ack_536_is_assumed(net):
    tcp = syn_sent(net)
    answer(tcp, options=[])
    tcp.send(bytes(1400))
    tcp.expect("A", length=lambda length: 0 < length <= 536)
    tcp.expect_nothing(length=lambda length: length > 536)


@case("RFC9293 3.10.7.3 syn", needs=CONNECT)
def data_in_a_syn_ack_is_taken_once_or_asked_for_again(net):
    tcp = syn_sent(net)
    tcp.send(b"hello", flags="SA", seq=0, options=[(MSS, 1460)])
    tcp.expect("A", ack=lambda ack: ack in (1, 6))
    tcp.send(b"hello", seq=1)
    tcp.nxt = 6
    tcp.send(b", world")
    assert tcp.read(12) == b"hello, world"


@case("RFC9293 3.10.7.3 ack", families=BOTH, needs=CONNECT)
@pytest.mark.parametrize("flags", ["SA", "A"])
@pytest.mark.parametrize("ack", [0, 2, 1 << 20, -(1 << 20)])
def in_syn_sent_a_wrong_acknowledgement_draws_a_reset_at_its_number(net, flags, ack):
    tcp = syn_sent(net)
    tcp.send(flags=flags, seq=0, ack=ack, options=[])
    tcp.expect_reset(flags="R", seq=ack)
    works(tcp)


@case("RFC9293 3.10.7.3 reset", needs=CONNECT)
@pytest.mark.parametrize("ack", [0, 2, 1 << 20])
def in_syn_sent_a_reset_with_a_wrong_acknowledgement_is_ignored(net, ack):
    tcp = syn_sent(net)
    tcp.send(flags="RA", seq=0, ack=ack)
    tcp.expect_nothing(flags="R")
    works(tcp)


@case("RFC9293 3.10.7.3 reset", needs=CONNECT)
@pytest.mark.parametrize("flags", ["R", "RS"])
def in_syn_sent_a_reset_without_an_acknowledgement_is_ignored(net, flags):
    tcp = syn_sent(net)
    tcp.send(flags=flags, seq=0, options=[])
    tcp.expect_nothing(flags="R")
    works(tcp)


@case("RFC9293 3.10.7.3 reset", families=BOTH, needs=CONNECT)
def in_syn_sent_a_reset_that_acknowledges_the_syn_ends_the_attempt(net):
    tcp = syn_sent(net)
    tcp.send(flags="RA", seq=0, ack=1)
    # The SYN would come again after a second. A program whose attempt has failed may end, and its stack with it.
    tcp.expect_nothing(for_=2.5)


@case("RFC9293 3.10.7.3 other", needs=CONNECT)
@pytest.mark.parametrize("flags", ["F", "FA", "A", "PA", "P", ""])
def in_syn_sent_what_has_no_syn_is_ignored(net, flags):
    tcp = syn_sent(net)
    tcp.send(b"x" if "P" in flags else b"", flags=flags, seq=1, ack=1)
    tcp.expect_nothing(for_=0.3)
    works(tcp)


@case("RFC9293 MUST-10", "RFC9293 3.10.7.3 syn", families=BOTH, needs=CONNECT)
@pytest.mark.parametrize("flags", ["A", "SA"])
def both_ends_may_open_at_once(net, flags):
    tcp = syn_sent(net)
    tcp.open()
    tcp.expect("SA", seq=0, ack=1)
    # Each end answers the other's SYN: with a SYN-ACK, if it is in the same state.
    tcp.send(flags=flags, seq=0 if "S" in flags else 1, ack=1, options=[])
    echoes(tcp)


@case("RFC9293 MUST-11", "RFC9293 3.10.7.4 reset while opening", needs=CONNECT)
def a_reset_in_the_middle_of_a_simultaneous_open_ends_the_attempt(net):
    tcp = syn_sent(net)
    tcp.open()
    tcp.expect("SA", seq=0, ack=1)
    tcp.send(flags="R")
    tcp.expect_nothing(for_=2.5)  # nor does it listen now: the SYN-ACK would come again


@case("RFC9293 MUST-10", "RFC9293 3.10.7.4 ack while opening", needs=CONNECT)
def in_a_simultaneous_open_a_wrong_acknowledgement_draws_a_reset_at_its_number(net):
    tcp = syn_sent(net)
    tcp.open()
    tcp.expect("SA", seq=0, ack=1)
    tcp.send(ack=77)
    tcp.expect_reset(flags="R", seq=77)
    tcp.send(ack=1)
    echoes(tcp)


@case("RFC9293 MUST-7", needs=CONNECT)
@pytest.mark.parametrize("option", [bytes([253, 0]), bytes([253, 40]), bytes([2, 3, 5])],
                         ids=["length 0", "past the end", "a short MSS"])
def a_malformed_option_in_the_syn_ack_hurts_nobody(net, option):
    tcp = syn_sent(net)
    tcp.send(flags="SA", seq=0, raw_options=option + bytes(-len(option) % 4))
    segments = tcp.collect(0.2)
    if any("R" in segment.flags for segment in segments):
        return
    tcp.nxt = 1
    if not segments:
        answer(tcp)
    echoes(tcp)


@case("RFC9293 MUST-3", needs=CONNECT)
@pytest.mark.parametrize("flags", ["SA", "RA"])
def in_syn_sent_a_wrong_checksum_draws_nothing(net, flags):
    tcp = syn_sent(net)
    tcp.send(flags=flags, seq=0, ack=1, options=[], chksum=0x1234)
    tcp.expect_nothing()
    works(tcp)
