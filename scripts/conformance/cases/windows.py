"""TCP: windows that close, open, shrink and are scaled (RFC 9293 section 3.8.6, RFC 7323 section 2)."""

import time

from suite.cases import BOTH, case
from suite.setting import CHARGEN
from suite.tcp import WSCALE, pattern

SIZE = 1000
OVERRIDE = 0.09  # seconds: RFC 9293's lower bound of how long a small segment is held back is 0.1
LIMIT = 4 << 20  # what no service buffers


def filled(net, window):
    """A connection whose sender has filled our window, with its last segment. Probes have yet to come."""
    tcp = net.tcp(CHARGEN)
    tcp.open(mss=SIZE)
    tcp.expect("SA")
    tcp.window, edge = window, None
    while tcp.rcv != edge:
        # A short segment, as at the beginning, leaves too little room for the last.
        edge = tcp.rcv + window
        tcp.send()
        segments = []
        while tcp.rcv < edge and (segment := tcp.next(time.monotonic() + 0.1)) is not None:
            segments.append(segment)
    tcp.received.clear()
    return tcp, segments[-1]


def shut(net, window=3 * SIZE):
    """The same, when its window has been shut."""
    tcp, _ = filled(net, window)
    tcp.window = 0
    tcp.send()
    # What was sent again because we were slow is no probe.
    tcp.collect(0.03)
    return tcp


def is_probe(segment, edge):
    """Whether a segment is what may be sent to a window that is shut: something old, or one byte."""
    return segment.end <= edge + 1


def fill(net, tcp):
    """Sends to an echo that can return nothing until its window is shut; all segments that came."""
    tcp.window, segments, data = 0, [], pattern(SIZE)
    tcp.send()
    tcp.send(b"!")
    segments.append(tcp.expect("A", ack=2))
    while segments[-1].window and tcp.nxt < LIMIT:
        edge = segments[-1].edge
        while tcp.nxt < edge:
            tcp.send(data[:edge - tcp.nxt])
        segments += tcp.collect(0.02)
        while segments[-1].ack < tcp.nxt:
            segments.append(tcp.expect("A"))
        if segments[-1].edge - tcp.nxt < SIZE:
            # It may be that what was read makes room.
            segments += tcp.collect(0.5)
    assert segments[-1].window == 0
    return segments


@case("RFC9293 MUST-36", "RFC9293 3.8.6 offered window", families=BOTH)
def a_window_that_is_shut_is_probed_and_not_overrun(net):
    tcp = shut(net)
    edge = tcp.rcv
    probe = tcp.expect("A", within=8)
    assert is_probe(probe, edge), probe
    assert all(is_probe(segment, edge) for segment in tcp.collect(1))


@case("RFC9293 SHLD-30", "RFC9293 MUST-37", "RFC9293 MUST-35")
def probes_come_ever_more_seldom_and_the_connection_lives(net):
    tcp = shut(net)
    times, edge = [], tcp.rcv
    for _ in range(5):
        times.append(tcp.expect("A", within=20).at)
        tcp.send(ack=edge)
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert all(later > 1.5 * earlier for earlier, later in zip(gaps, gaps[1:])), gaps
    tcp.window = 2 * SIZE
    tcp.send()
    tcp.read(SIZE)


@case("RFC9293 MUST-36")
def a_window_that_opens_is_used_at_once(net):
    tcp = shut(net)
    edge = tcp.rcv
    tcp.expect("A", within=8)
    tcp.window = 2 * SIZE
    tcp.send(ack=edge)
    # No later than this would the next probe come.
    segment = tcp.expect("A", within=1, end=lambda end: end > edge + 1)
    assert segment.end <= edge + 2 * SIZE


@case("RFC9293 MUST-36", families=BOTH)
def a_lost_opening_of_the_window_is_heard_of_by_the_answer_to_a_probe(net):
    tcp = shut(net)
    tcp.expect("A", within=8)
    tcp.expect("A", within=8)
    tcp.window = 2 * SIZE
    tcp.send()
    tcp.read(2 * SIZE)


@case("RFC9293 SHLD-15", "RFC9293 MUST-34")
def beyond_a_window_that_has_shrunk_nothing_new_is_sent(net):
    tcp = net.connect(CHARGEN, mss=SIZE, window=8 * SIZE)
    newest = 0
    while newest < 1 + 2 * SIZE:
        newest = max(newest, tcp.expect("A", length=lambda length: length).end)
    newest = max([newest] + [segment.end for segment in tcp.collect(0.05)])
    tcp.send(ack=1 + SIZE, window=SIZE)
    tcp.expect_nothing(for_=1, end=lambda end: end > newest)


@case("RFC9293 MUST-34", "RFC9293 SHLD-17", "RFC9293 SHLD-16")
def a_connection_survives_a_window_that_shrinks(net):
    tcp = net.connect(CHARGEN, mss=SIZE, window=8 * SIZE)
    tcp.collect(0.1)
    tcp.send(ack=1 + SIZE, window=SIZE)
    again = tcp.expect("A", within=8, seq=lambda seq: seq <= 1 + SIZE, end=lambda end: end > 1 + SIZE)
    assert again.length
    tcp.window = 8 * SIZE
    tcp.received.clear()
    tcp.send()
    tcp.read(20 * SIZE, within=10)


@case("RFC9293 MUST-35", "RFC9293 MUST-34")
def a_window_that_shrinks_to_nothing_is_probed(net):
    tcp = net.connect(CHARGEN, mss=SIZE, window=4 * SIZE)
    newest = max(segment.end for segment in tcp.collect(0.1))
    tcp.send(ack=1 + SIZE, window=0)
    for _ in range(2):
        probe = tcp.expect("A", within=8)
        assert probe.end <= newest + 1
        tcp.send(ack=1 + SIZE, window=0)
    tcp.send(window=8 * SIZE)
    tcp.expect("A", within=8, end=lambda end: end > newest + 1)


@case("RFC9293 MUST-38")
def a_window_that_opens_a_little_is_not_filled_with_a_small_segment(net):
    for _ in range(3):
        tcp, last = filled(net, 4 * SIZE)
        for room in (100, 200, 300):
            tcp.send(window=room)
        small = [segment for segment in tcp.collect(0.1) if 1 < segment.length < SIZE]
        # Once it has been held back for a while, it may go.
        assert all(segment.at - last.at > OVERRIDE for segment in small), small


@case("RFC9293 SHLD-14", "RFC9293 MUST-39")
def the_edge_of_the_window_that_a_receiver_offers_moves_only_to_the_right(net):
    tcp = net.connect()
    edges = [segment.edge for segment in fill(net, tcp)]
    assert edges == sorted(edges), edges


@case("RFC9293 MUST-39")
def a_receiver_opens_its_window_by_a_full_segment_or_not_at_all(net):
    tcp = net.connect()
    windows = [segment.window for segment in fill(net, tcp)]
    tcp.window, opened = 2920, None
    tcp.send()
    while opened is None:
        segment = tcp.expect("A", within=8)
        tcp.send()
        opened = segment.window or None
    assert opened >= min(1460, max(windows) // 2), opened


@case("RFC9293 3.10.7.4 zero window")
def text_for_a_window_that_is_shut_is_refused_and_what_was_taken_comes_back(net):
    tcp = net.connect()
    fill(net, tcp)
    size = tcp.nxt - 1
    tcp.send(b"?", seq=tcp.nxt)
    tcp.expect("A", ack=tcp.nxt, window=0)
    tcp.window = 65535
    tcp.send()
    came = tcp.read(size, within=30)
    assert len(came) == size
    tcp.collect(0.2)
    assert not tcp.received


@case("RFC9293 MUST-66", "RFC9293 3.10.7.4 zero window")
def a_reset_is_heard_while_the_window_is_shut(net):
    tcp = net.connect()
    fill(net, tcp)
    tcp.send(flags="R")
    tcp.net.forget()
    tcp.send(flags="A")
    tcp.expect_reset()


@case("RFC9293 MUST-66")
def urgent_data_for_a_window_that_is_shut_is_acknowledged_and_not_taken(net):
    tcp = net.connect()
    fill(net, tcp)
    tcp.send(b"!", flags="PAU", urgptr=1, seq=tcp.nxt)
    tcp.expect("A", ack=tcp.nxt, window=0)


@case("RFC7323 2.2 scale", families=BOTH)
def a_scaled_window_is_filled_and_not_overrun(net):
    tcp = net.connect(CHARGEN, mss=1400, wscale=5, window=300)
    tcp.needs(WSCALE)
    end = max(segment.end for segment in tcp.collect(0.15))
    assert 301 < end <= 1 + (300 << 5)


@case("RFC7323 2.2 scale")
def without_the_option_a_window_is_not_scaled(net):
    tcp = net.connect(CHARGEN, mss=SIZE, window=3000)
    assert WSCALE not in tcp.options
    assert max(segment.end for segment in tcp.collect(0.15)) <= 3001


@case("RFC7323 2.3 largest")
def a_shift_beyond_fourteen_is_taken_for_fourteen(net):
    tcp = net.connect(CHARGEN, mss=1400, wscale=15, window=1)
    tcp.needs(WSCALE)
    end = 1
    for _ in range(3):
        end = max([end] + [segment.end for segment in tcp.collect(0.15)])
        tcp.send(ack=end)
    newest = max(segment.end for segment in tcp.collect(0.15))
    assert end + 1400 < newest <= end + (1 << 14)
