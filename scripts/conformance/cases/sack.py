"""TCP: selective acknowledgements (RFC 2018 and RFC 2883), where the target negotiates them."""

import time

from suite.cases import BOTH, case
from suite.setting import CHARGEN, DISCARD
from suite.tcp import SACK, SACK_OK, TIMESTAMP, WRAP, pattern, relative

SIZE = 1000


def connect(net, port=DISCARD, **how):
    tcp = net.connect(port, sack=True, **how)
    tcp.needs(SACK_OK)
    return tcp


def far(net):
    """A stream over a path so long that its RTO of 1.5 s does not interfere: the segments that came first."""
    tcp = net.tcp(CHARGEN)
    tcp.open(mss=SIZE, sack=True)
    tcp.expect("SA")
    tcp.needs(SACK_OK)
    time.sleep(0.5)
    tcp.window = 65535
    tcp.send()
    sent = [segment for segment in tcp.collect(0.1) if segment.length]
    assert len(sent) >= 8, sent
    return tcp, sent


def blocks(tcp, segment):
    """The blocks that a segment reports, in relative numbers."""
    edges = [relative(edge, tcp.iss) for edge in segment.options.get(SACK, ())]
    return list(zip(edges[::2], edges[1::2]))


def report(tcp, ack, *ranges):
    """Sends an ACK with SACK blocks."""
    edges = tuple((tcp.irs + edge) % WRAP for block in ranges for edge in block)
    tcp.send(ack=ack, options=[("NOP", None), ("NOP", None), (SACK, edges)])


def starts(segments):
    return [segment.seq for segment in segments if segment.length]


@case("RFC2018 2 permitted", families=BOTH)
def without_sack_permitted_nobody_is_sent_sack(net):
    tcp = net.connect(DISCARD)
    assert SACK_OK not in tcp.options
    tcp.send(b"out of order", seq=101)
    tcp.expect("A", ack=1, options={SACK: None})


@case("RFC2018 4 reported", "RFC2018 3 block", families=BOTH)
def what_is_out_of_order_is_reported_by_its_edges(net):
    tcp = connect(net)
    tcp.send(pattern(50), seq=101)
    assert blocks(tcp, tcp.expect("A", ack=1)) == [(101, 151)]


@case("RFC2018 4 first")
def the_first_block_is_the_latest(net):
    tcp = connect(net)
    for seq in (301, 101, 201):
        tcp.send(pattern(50), seq=seq)
        assert blocks(tcp, tcp.expect("A", ack=1))[0] == (seq, seq + 50)


@case("RFC2018 4 as many")
def three_islands_are_reported_in_three_blocks(net):
    tcp = connect(net)
    for seq in (101, 301, 501):
        tcp.send(pattern(50), seq=seq)
        segment = tcp.expect("A", ack=1)
    assert sorted(blocks(tcp, segment)) == [(101, 151), (301, 351), (501, 551)]


@case("RFC2018 3 block", "RFC2018 4 first")
def islands_that_touch_are_one_block(net):
    tcp = connect(net)
    for seq in (101, 201):
        tcp.send(pattern(50), seq=seq)
        tcp.expect("A", ack=1)
    tcp.send(pattern(50), seq=151)
    assert blocks(tcp, tcp.expect("A", ack=1)) == [(101, 251)]


@case("RFC2018 4 reported")
def data_in_order_does_not_end_the_report(net):
    tcp = connect(net)
    tcp.send(pattern(50), seq=101)
    tcp.expect("A", ack=1)
    tcp.send(pattern(50))
    assert blocks(tcp, tcp.expect("A", ack=51)) == [(101, 151)]


@case("RFC2018 4 reported", "RFC2018 3 block")
def when_the_gap_is_filled_nothing_is_reported(net):
    tcp = connect(net)
    tcp.send(pattern(50), seq=51)
    tcp.expect("A", ack=1)
    tcp.send(pattern(50))
    tcp.expect("A", ack=101, options={SACK: None})


@case("RFC2018 3 block", "RFC9293 3.4 modulo")
def a_block_may_reach_over_the_wrap(net):
    tcp = connect(net, iss=WRAP - 120)
    tcp.send(pattern(50), seq=101)
    assert blocks(tcp, tcp.expect("A", ack=1)) == [(101, 151)]


@case("RFC2883 4 duplicate")
def what_comes_twice_is_reported_once(net):
    tcp = connect(net)
    tcp.send(pattern(50))
    tcp.expect("A", ack=51)
    tcp.collect(0.1)
    tcp.send(pattern(50), seq=1)
    assert blocks(tcp, tcp.expect("A", ack=51)) == [(1, 51)]
    tcp.send(pattern(50), seq=101)
    assert blocks(tcp, tcp.expect("A", ack=51)) == [(101, 151)]


@case("RFC2883 4 duplicate", "RFC2883 4 once")
def what_comes_twice_out_of_order_is_reported_before_the_block_it_is_in(net):
    tcp = connect(net)
    tcp.send(pattern(100), seq=101)
    tcp.expect("A", ack=1)
    tcp.send(pattern(50), seq=121)
    assert blocks(tcp, tcp.expect("A", ack=1)) == [(121, 171), (101, 201)]


@case("RFC2018 5 sender")
def holes_are_sent_again_and_what_was_reported_is_not(net):
    tcp, sent = far(net)
    edge = sent[-1].end
    for high in sent[5:8]:
        report(tcp, 1, (sent[3].seq, high.end), (sent[1].seq, sent[1].end))
    again = [seq for seq in starts(tcp.collect(0.5)) if seq < edge]
    assert sorted(set(again)) == [sent[0].seq, sent[2].seq], again


@case("RFC2018 5 sender", "RFC5681 3.2 fast retransmit")
def a_report_of_three_segments_beyond_a_hole_has_it_sent_again_at_once(net):
    tcp, sent = far(net)
    for high in sent[1:5]:
        report(tcp, 1, (sent[1].seq, high.end))
    assert sent[0].seq in starts(tcp.collect(0.4))


@case("RFC2018 4 as many", "RFC7323 3.2 every segment")
def blocks_leave_room_for_timestamps(net):
    tcp = connect(net, timestamps=True)
    tcp.needs(TIMESTAMP)
    for seq in (101, 301, 501, 701):
        tcp.send(pattern(50), seq=seq)
        segment = tcp.expect("A", ack=1)
    assert TIMESTAMP in segment.options
    assert blocks(tcp, segment)[0] == (701, 751) and len(blocks(tcp, segment)) == 3


@case("RFC2018 4 repeated")
def what_has_been_reported_is_reported_again(net):
    tcp = connect(net)
    for seq in (301, 101, 501):
        tcp.send(pattern(50), seq=seq)
        segment = tcp.expect("A", ack=1)
    assert blocks(tcp, segment) == [(501, 551), (101, 151), (301, 351)]


@case("RFC2018 5 left edge")
def after_a_time_out_the_first_segment_is_sent_again_even_if_it_was_reported(net):
    tcp, sent = far(net)
    report(tcp, 1, (sent[0].seq, sent[-1].end))
    tcp.expect(seq=1, length=lambda length: length, within=6)


@case("RFC2018 8 kept")
def what_was_reported_is_kept_until_it_is_acknowledged(net):
    tcp, sent = far(net)
    for high in sent[2:5]:
        report(tcp, 1, (sent[1].seq, high.end))
    tcp.expect(seq=1, length=lambda length: length, within=6)
    # The receiver has dropped what it had reported.
    for lost in sent[1:5]:
        tcp.send(ack=lost.seq)
        again = tcp.expect(seq=lost.seq, length=lambda length: length, within=6)
        assert again.data[:SIZE] == lost.data[:len(again.data)]


@case("RFC2883 4 edges")
def of_a_segment_that_came_in_part_before_that_part_is_reported(net):
    tcp = connect(net)
    tcp.send(pattern(50))
    tcp.expect("A", ack=51)
    tcp.collect(0.1)
    tcp.send(pattern(100), seq=1)
    assert blocks(tcp, tcp.expect("A", ack=101)) == [(1, 51)]


@case("RFC2883 4.2 partial", "RFC2883 4 second block")
def of_two_parts_that_came_before_the_first_is_reported(net):
    tcp = connect(net)
    for seq in (101, 201):
        tcp.send(pattern(50), seq=seq)
        tcp.expect("A", ack=1)
    tcp.send(pattern(150), seq=101)
    assert blocks(tcp, tcp.expect("A", ack=1)) == [(101, 151), (101, 251)]
