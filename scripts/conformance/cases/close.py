"""TCP: how connections end (RFC 9293 sections 3.6 and 3.10.7.4)."""

from suite.cases import BOTH, case
from suite.setting import CHARGEN, DAYTIME, DISCARD
from suite.tcp import pattern


def closed_by_target(net):
    """A connection to daytime, which has sent its line and its FIN, and the FIN's number. Neither is acknowledged."""
    tcp = net.connect(DAYTIME)
    segment = tcp.expect("FA", within=2)
    assert tcp.rcv == segment.end, "what is before the FIN is missing"
    return tcp, segment.end - 1


def no_longer_is(tcp):
    """Whether a segment meets no connection (RFC 9293 section 3.10.7.1)."""
    tcp.send(ack=tcp.rcv)
    tcp.expect_reset(seq=tcp.rcv)


@case("RFC9293 3.10.7.4 fin", families=BOTH)
def a_fin_is_acknowledged_and_answered_by_one(net):
    tcp = net.connect(DISCARD)
    tcp.send(flags="FA")
    tcp.expect("FA", seq=1, ack=2)
    tcp.send()
    tcp.collect(0.05)
    tcp.expect_nothing()


@case("RFC9293 3.10.7.4 ack of fin", "RFC9293 3.10.7.1", families=BOTH)
def when_both_fins_are_acknowledged_the_connection_is_gone(net):
    tcp = net.connect(DISCARD)
    tcp.send(flags="FA")
    tcp.expect("FA", ack=2)
    tcp.send()
    no_longer_is(tcp)


@case("RFC9293 3.6 half-close", families=BOTH)
def after_our_fin_all_that_was_sent_comes_back(net):
    tcp = net.connect(window=500)
    for at in range(0, 5000, 1000):
        tcp.send(pattern(5000)[at:at + 1000])
    tcp.send(flags="FA")
    assert tcp.read(5000, within=10) == pattern(5000)
    assert tcp.rcv == 5002 or tcp.expect("FA", seq=5001).ack == 5002


@case("RFC9293 3.10.7.4 fin", families=BOTH)
def data_with_a_fin_is_delivered_before_it(net):
    tcp = net.connect()
    tcp.send(b"last words", flags="FPA")
    assert tcp.read(10) == b"last words"
    assert tcp.rcv == 12 or tcp.expect("FA", seq=11, ack=12)


@case("RFC9293 3.10.7.4 fin")
def a_fin_that_comes_before_its_data_waits_for_it(net):
    tcp = net.connect()
    tcp.send(flags="FA", seq=6)
    tcp.expect_nothing(ack=lambda ack: ack > 1)
    tcp.send(b"hello")
    tcp.nxt = 7
    if tcp.expect(ack=lambda ack: ack >= 6).ack == 6:
        # It was not kept, as it should have been.
        tcp.send(flags="FA", seq=6)
        tcp.expect(ack=7)
    assert tcp.read(5) == b"hello"
    assert tcp.rcv == 7 or tcp.expect("FA", seq=6)


@case("RFC9293 3.10.7.4 fin", "RFC9293 SHLD-31")
def data_and_fin_that_come_before_other_data_are_kept(net):
    tcp = net.connect()
    tcp.send(b"world", flags="FPA", seq=7)
    tcp.expect_nothing(ack=lambda ack: ack > 1)
    tcp.send(b"hello ")
    tcp.nxt = 13
    assert tcp.read(11) == b"hello world"
    assert tcp.rcv == 13 or tcp.expect("FA", seq=12, ack=13)


@case("RFC9293 MUST-19", "RFC6298 5.5 doubling", families=BOTH)
def a_fin_is_sent_again_until_it_is_acknowledged(net):
    tcp = net.connect(DISCARD)
    tcp.send(flags="FA")
    times = [tcp.expect("FA", seq=1, ack=2, within=10).at for _ in range(4)]
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert 1.5 < gaps[2] / gaps[1] < 2.5, gaps
    tcp.send()
    tcp.collect(0.05)
    tcp.expect_nothing(for_=2)


@case("RFC9293 3.10.7.4 fin", "RFC9293 3.10.7.4 sequence")
def a_fin_that_comes_again_is_acknowledged_again(net):
    tcp = net.connect(DISCARD)
    tcp.send(flags="FA")
    tcp.expect("FA", ack=2)
    for _ in range(3):
        tcp.send(flags="FA", seq=1, ack=1)
        tcp.expect("A", ack=2, seq=2)


@case("RFC9293 3.10.7.4 text")
def data_behind_a_fin_is_ignored(net):
    # Little room, so that it is still busy when the data comes.
    tcp = net.connect(window=2)
    tcp.send(b"before", flags="FPA")
    tcp.expect(ack=8)
    tcp.send(b"behind", seq=8)
    tcp.window = 1000
    tcp.send(seq=8)
    assert tcp.read(6, within=4) == b"before"
    assert tcp.rcv == 8 or tcp.expect("FA", seq=7)
    assert not tcp.received


@case("RFC9293 3.10.7.4 ack of fin", needs=["daytime"], families=BOTH)
def a_target_that_closes_first_goes_on_to_time_wait(net):
    tcp, fin = closed_by_target(net)
    tcp.send()
    tcp.collect(0.1)
    tcp.send(flags="FA")
    tcp.expect("A", seq=fin + 1, ack=2)
    tcp.expect_nothing()


@case("RFC9293 3.10.7.4 ack of fin", needs=["daytime"], families=BOTH)
def a_fin_that_acknowledges_the_targets_closes_at_once(net):
    tcp, fin = closed_by_target(net)
    tcp.send(flags="FA")
    tcp.expect("A", seq=fin + 1, ack=2)
    tcp.expect_nothing()


@case("RFC9293 3.10.7.4 ack of fin", needs=["daytime"], families=BOTH)
def fins_that_cross_are_each_acknowledged(net):
    tcp, fin = closed_by_target(net)
    tcp.send(flags="FA", ack=fin)
    tcp.expect("A", seq=fin + 1, ack=2)
    tcp.send()
    tcp.collect(0.05)
    tcp.expect_nothing()
    # Closed by both: it is in TIME-WAIT and knows a FIN that comes again.
    tcp.send(flags="FA", seq=1)
    tcp.expect_next("A", seq=fin + 1, ack=2)


@case("RFC9293 3.10.7.4 ack of fin", "RFC6298 5.5 doubling", needs=["daytime"])
def a_fin_that_crossed_ours_is_sent_again_until_it_is_acknowledged(net):
    tcp, fin = closed_by_target(net)
    tcp.send(flags="FA", ack=fin)
    tcp.expect("A", seq=fin + 1, ack=2)
    tcp.expect("FA", seq=lambda seq: seq <= fin, end=fin + 1, within=5)
    tcp.send()
    tcp.collect(0.05)
    tcp.expect_nothing(for_=2)


@case("RFC9293 3.6 half-close", "RFC9293 SHLD-3", needs=["daytime"])
def data_for_who_has_closed_is_acknowledged_or_refused_and_not_ignored(net):
    tcp, fin = closed_by_target(net)
    tcp.send()
    tcp.send(b"too late?")
    answers = tcp.collect(1)
    assert any("R" in answer.flags or answer.ack == 10 for answer in answers), answers


@case("RFC9293 3.10.7.4 reset", "RFC9293 3.10.7.1", families=BOTH)
def a_reset_ends_a_connection(net):
    tcp = net.connect(DISCARD)
    tcp.send(flags="R")
    tcp.expect_nothing(for_=0.2)
    no_longer_is(tcp)


@case("RFC9293 SHLD-2")
def a_reset_with_data_ends_a_connection(net):
    tcp = net.connect(DISCARD)
    tcp.send(b"out of memory", flags="RA", seq=1)
    tcp.expect_nothing(for_=0.2)
    no_longer_is(tcp)


@case("RFC9293 3.10.7.4 reset")
def a_reset_ends_a_connection_that_has_data_on_the_way(net):
    tcp = net.connect(CHARGEN, window=3000)
    tcp.expect("A", length=lambda length: length)
    tcp.send(flags="R")
    tcp.collect(0.05)
    tcp.expect_nothing(for_=2)
    no_longer_is(tcp)


@case("RFC9293 3.10.7.4 reset")
def a_reset_ends_a_connection_whose_peer_has_closed(net):
    tcp = net.connect(DISCARD)
    tcp.send(flags="FA")
    tcp.expect("FA", ack=2)
    tcp.send(flags="R")
    tcp.collect(0.05)
    tcp.expect_nothing(for_=2)


@case("RFC9293 3.4 modulo")
def a_fin_may_have_the_last_sequence_number(net):
    tcp = net.connect(DISCARD, iss=(1 << 32) - 6)
    tcp.send(b"abcd", flags="FPA")
    tcp.expect("FA", ack=6)
    tcp.send()
    no_longer_is(tcp)
