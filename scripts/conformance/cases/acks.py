"""TCP: when data is acknowledged (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2).

How soon is judged by the middle of several tries, since one may fall into a pause of a busy machine; the shortest timer
of a delayed acknowledgement that is in use is 40 ms.
"""

import time

from scapy.layers.inet import TCP

from suite.cases import BOTH, case
from suite.setting import DISCARD
from suite.tcp import MSS, pattern
from suite.wire import TESTER

AT_ONCE = 0.03  # seconds


def middle(values):
    return sorted(values)[len(values) // 2]


@case("RFC9293 MUST-40", families=BOTH)
def an_acknowledgement_is_delayed_by_less_than_half_a_second(net):
    tcp = net.connect(DISCARD)
    for number in range(15):
        tcp.send(b"x")
        assert tcp.delay_of(tcp.expect("A", ack=2 + number)) < 0.5


@case("RFC9293 MUST-40")
def small_segments_one_after_another_do_not_put_the_acknowledgement_off(net):
    tcp = net.connect(DISCARD)
    for byte in pattern(30):
        tcp.send(bytes([byte]))
        time.sleep(0.03)
    acknowledged = [segment.at for segment in tcp.collect(0.6) if segment.ack > 1]
    began = next(seen.at for seen in net.wire.history if seen.sender == TESTER and seen.packet[TCP].flags == "PA")
    times = [began, *acknowledged]
    assert len(times) > 1
    assert max(later - earlier for earlier, later in zip(times, times[1:])) < 0.5


@case("RFC9293 SHLD-19", families=BOTH)
def the_second_full_sized_segment_is_acknowledged_at_once(net):
    tcp, delays = net.connect(DISCARD), []
    full = pattern(tcp.options[MSS])
    for number in range(11):
        tcp.send(full)
        tcp.send(full)
        delays.append(tcp.delay_of(tcp.expect("A", ack=tcp.nxt)))
    assert middle(delays) < AT_ONCE, delays


@case("RFC9293 MAY-13", "RFC5681 3.2 duplicate ACK", families=BOTH)
def a_segment_out_of_order_draws_a_duplicate_ack_at_once(net):
    tcp, delays = net.connect(DISCARD), []
    for number in range(11):
        tcp.send(b"out of order", seq=101 + 100 * number)
        delays.append(tcp.delay_of(tcp.expect_next("A", seq=1, ack=1, length=0)))
    assert middle(delays) < AT_ONCE, delays


@case("RFC5681 3.2 duplicate ACK")
def each_segment_out_of_order_draws_a_duplicate_ack_with_the_same_window(net):
    tcp = net.connect(DISCARD)
    tcp.send(b"first")
    window = max(segment.window for segment in [tcp.expect("A", ack=6), *tcp.collect(0.1)])
    for number in range(5):
        tcp.send(pattern(100), seq=106 + 100 * number)
        tcp.expect_next("A", ack=6, length=0, window=window)


@case("RFC5681 3.2 gap")
def a_segment_that_fills_a_gap_is_acknowledged_at_once_with_all_behind_it(net):
    tcp, delays = net.connect(DISCARD), []
    for number in range(11):
        start = tcp.nxt
        tcp.send(b"56789", seq=start + 5)
        tcp.expect_next("A", ack=start)
        tcp.send(b"01234")
        tcp.nxt = start + 10
        delays.append(tcp.delay_of(tcp.expect("A", ack=tcp.nxt)))
    assert middle(delays) < AT_ONCE, delays


@case("RFC5681 3.2 gap")
def a_segment_that_fills_part_of_a_gap_is_acknowledged_at_once(net):
    tcp, delays = net.connect(DISCARD), []
    tcp.send(b"far away", seq=1001)
    tcp.expect("A", ack=1)
    for number in range(11):
        tcp.send(b"part")
        delays.append(tcp.delay_of(tcp.expect("A", ack=tcp.nxt)))
    assert middle(delays) < AT_ONCE, delays


@case("RFC9293 MUST-59")
def the_acknowledgement_of_the_last_gap_covers_all_that_was_queued(net):
    tcp = net.connect(DISCARD)
    for seq in (41, 21, 61, 11, 31, 51):
        tcp.send(b"0123456789", seq=seq)
        tcp.expect_next("A", ack=1)
    tcp.send(b"0123456789")
    tcp.expect_next("A", ack=71)


@case("RFC5681 4.2 out of order", families=BOTH)
def acknowledgements_are_not_acknowledged(net):
    tcp = net.connect()
    tcp.send(b"echo")
    assert tcp.read(4) == b"echo"
    tcp.expect_nothing(for_=0.2, length=lambda length: length)
    for number in range(10):
        tcp.send()
    tcp.expect_nothing()
    tcp.send(b"!")
    assert tcp.read(1) == b"!"


@case("RFC5681 4.2 out of order")
def updates_of_the_window_are_not_acknowledged(net):
    tcp = net.connect()
    for window in (1000, 60000, 2, 30000):
        tcp.send(window=window)
    tcp.expect_nothing()
    tcp.send(b"!")
    assert tcp.read(1) == b"!"


@case("RFC9293 3.10.7.4 fin", "RFC9293 MUST-40")
def data_and_fin_in_one_segment_are_acknowledged_together(net):
    tcp = net.connect(DISCARD)
    tcp.send(b"the end", flags="FPA")
    segment = tcp.expect_next(ack=9)
    assert tcp.delay_of(segment) < 0.5


@case("RFC9293 MUST-58")
def a_burst_is_not_acknowledged_more_often_than_it_has_segments(net):
    tcp = net.connect(DISCARD)
    packets = [tcp.segment(pattern(500), seq=1 + 500 * number) for number in range(20)]
    net.send(*packets)
    answers = tcp.collect(0.6)
    assert answers and answers[-1].ack == 10001
    assert len(answers) <= 20
