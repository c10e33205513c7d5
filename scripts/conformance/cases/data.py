"""TCP: what is sent arrives whole, once and in order, however it was cut (RFC 9293 sections 3.4 and 3.10.7.4)."""

import hashlib
import itertools

from suite.cases import BOTH, case
from suite.tcp import WRAP, pattern

SIZE = 1000


def pieces(tcp, data, *ranges):
    """Sends ranges of data that is to follow what was sent: a pair of beginning and end each."""
    start = tcp.nxt
    for begin, end in ranges:
        tcp.send(data[begin:end], seq=start + begin)
    tcp.nxt = start + len(data)


def comes_back(tcp, data):
    """Whether echo returns exactly this."""
    came = tcp.read(len(data))
    return came == data and is_all(tcp)


def is_all(tcp):
    """Whether no more than what has been read comes back; what is sent again for our slowness is nothing more."""
    tcp.collect(0.1)
    return not tcp.received


def unread(tcp):
    """A window of the target's that stays where it is while no data comes: its right edge."""
    tcp.send(b"!")
    segment = tcp.expect("A", ack=2, data=b"!")
    tcp.received.clear()
    tcp.send()
    return max([segment, *tcp.collect(0.1)], key=lambda one: one.edge).edge


@case("RFC9293 3.10.7.4 order", families=BOTH)
def a_large_transfer_comes_back_unchanged(net):
    tcp, sent, came = net.connect(), hashlib.sha256(), hashlib.sha256()
    for number in range(50):
        data = net.random.randbytes(4 * SIZE)
        sent.update(data)
        pieces(tcp, data, *((at, at + SIZE) for at in range(0, len(data), SIZE)))
        came.update(tcp.read(len(data)))
    assert came.hexdigest() == sent.hexdigest()


@case("RFC9293 3.10.7.4 order")
def segments_of_one_byte_come_back(net):
    tcp = net.connect()
    pieces(tcp, pattern(40), *((at, at + 1) for at in range(40)))
    assert comes_back(tcp, pattern(40))


@case("RFC9293 3.10.7.4 order")
def text_without_psh_is_delivered(net):
    tcp = net.connect()
    tcp.send(b"not pushed", flags="A")
    assert tcp.read(10) == b"not pushed"


@case("RFC9293 MUST-61")
def psh_is_on_the_segment_that_empties_the_queue(net):
    tcp = net.connect()
    pieces(tcp, pattern(3000), (0, 1400), (1400, 2800), (2800, 3000))
    while tcp.rcv < 3001:
        last = tcp.expect("A", length=lambda length: length)
        tcp.send()
    assert "P" in last.flags, last


@case("RFC9293 3.10.7.4 order", "RFC9293 SHLD-31", families=BOTH)
def four_segments_come_back_in_order_whatever_order_they_came_in(net):
    tcp = net.connect()
    for order in itertools.permutations(range(4)):
        data = net.random.randbytes(40)
        pieces(tcp, data, *((10 * at, 10 * at + 10) for at in order))
        assert tcp.read(40) == data, order


@case("RFC9293 3.10.7.4 order")
def what_comes_too_early_waits_for_what_is_before_it(net):
    tcp = net.connect()
    tcp.send(b"world", seq=7)
    tcp.expect("A", ack=1, length=0)
    tcp.expect_nothing()
    tcp.send(b"hello ")
    tcp.expect("A", ack=12)
    assert tcp.read(11) == b"hello world"


@case("RFC9293 3.10.7.4 sequence")
def what_comes_twice_is_acknowledged_and_delivered_once(net):
    tcp = net.connect()
    tcp.send(b"once")
    assert tcp.read(4) == b"once"
    assert is_all(tcp)
    tcp.send(b"once", seq=1)
    tcp.expect_next("A", ack=5, length=0)
    tcp.send(b" more")
    assert comes_back(tcp, b" more")


@case("RFC9293 3.10.7.4 order", "RFC9293 SHLD-31")
def what_comes_twice_out_of_order_is_delivered_once(net):
    tcp = net.connect()
    pieces(tcp, pattern(30), (10, 20), (10, 20), (20, 30), (10, 20), (0, 10))
    assert comes_back(tcp, pattern(30))


@case("RFC9293 3.10.7.4 trimming")
def the_old_front_of_a_segment_is_cut_off(net):
    tcp = net.connect()
    pieces(tcp, pattern(20), (0, 10), (5, 20))
    assert comes_back(tcp, pattern(20))


@case("RFC9293 3.10.7.4 trimming")
def a_segment_that_is_sent_again_with_more_behind_it_gives_the_new(net):
    tcp = net.connect()
    tcp.send(b"short")
    assert tcp.read(5) == b"short"
    tcp.send(b"short and more", seq=1)
    tcp.nxt = 15
    assert comes_back(tcp, b" and more")


@case("RFC9293 3.10.7.4 order")
def a_segment_that_reaches_into_a_queued_one_joins_it(net):
    tcp = net.connect()
    pieces(tcp, pattern(30), (15, 30), (0, 20))
    assert comes_back(tcp, pattern(30))


@case("RFC9293 3.10.7.4 order")
def a_segment_that_begins_in_a_queued_one_joins_it(net):
    tcp = net.connect()
    pieces(tcp, pattern(30), (10, 20), (15, 30), (0, 10))
    assert comes_back(tcp, pattern(30))


@case("RFC9293 3.10.7.4 order")
def a_segment_that_covers_queued_ones_takes_their_place(net):
    tcp = net.connect()
    pieces(tcp, pattern(40), (10, 15), (20, 25), (5, 40), (0, 5))
    assert comes_back(tcp, pattern(40))


@case("RFC9293 3.10.7.4 order")
def a_segment_inside_a_queued_one_adds_nothing(net):
    tcp = net.connect()
    pieces(tcp, pattern(40), (5, 40), (10, 20), (0, 5))
    assert comes_back(tcp, pattern(40))


@case("RFC9293 3.10.7.4 order")
def a_segment_between_two_queued_ones_joins_both(net):
    tcp = net.connect()
    pieces(tcp, pattern(40), (30, 40), (10, 20), (15, 35), (0, 10))
    assert comes_back(tcp, pattern(40))


@case("RFC9293 3.10.7.4 order")
def a_segment_from_the_first_byte_to_the_last_makes_the_queue_needless(net):
    tcp = net.connect()
    pieces(tcp, pattern(40), (30, 40), (10, 20), (0, 40))
    assert comes_back(tcp, pattern(40))


@case("RFC9293 3.10.7.4 order", families=BOTH)
def data_cut_at_random_comes_back_whole(net):
    tcp, data = net.connect(), net.random.randbytes(600)
    cuts = [sorted(net.random.sample(range(601), 2)) for _ in range(60)]
    tiles = [(at, at + 40) for at in range(0, 600, 40)]
    net.random.shuffle(tiles)
    pieces(tcp, data, *cuts, *tiles)
    assert comes_back(tcp, data)


@case("RFC9293 3.4 modulo", families=BOTH)
def sequence_numbers_wrap_within_a_segment(net):
    tcp = net.connect(iss=WRAP - 10)
    pieces(tcp, pattern(60), (0, 20), (20, 40), (40, 60))
    assert comes_back(tcp, pattern(60))


@case("RFC9293 3.4 modulo")
def data_beyond_the_wrap_waits_for_data_before_it(net):
    tcp = net.connect(iss=WRAP - 21)
    pieces(tcp, pattern(60), (40, 60), (20, 40), (30, 50), (5, 15), (0, 20))
    assert comes_back(tcp, pattern(60))


@case("RFC9293 3.4 modulo")
def a_syn_may_have_the_last_sequence_number(net):
    tcp = net.connect(iss=WRAP - 1)
    tcp.send(b"first byte is 0")
    assert comes_back(tcp, b"first byte is 0")


@case("RFC9293 3.4 modulo")
def data_from_before_the_wrap_is_old_after_it(net):
    tcp = net.connect(iss=WRAP - 10)
    tcp.send(pattern(30))
    assert tcp.read(30) == pattern(30)
    assert is_all(tcp)
    tcp.send(b"stale", seq=1)
    tcp.expect_next("A", ack=31, length=0)
    tcp.send(b"fresh")
    assert comes_back(tcp, b"fresh")


@case("RFC9293 3.4 modulo")
def sequence_numbers_cross_the_middle_of_their_space(net):
    tcp = net.connect(iss=(WRAP >> 1) - 10)
    pieces(tcp, pattern(60), (40, 60), (0, 20), (20, 40))
    assert comes_back(tcp, pattern(60))


@case("RFC9293 3.10.7.4 sequence", "RFC9293 SHLD-31")
def the_last_byte_of_the_window_is_taken(net):
    tcp = net.connect()
    edge = unread(tcp)
    data = pattern(edge - tcp.nxt)
    tcp.send(data[-1:], seq=edge - 1)
    tcp.expect_next("A", ack=2, length=0)
    pieces(tcp, data, *((at, min(at + SIZE, len(data) - 1)) for at in range(0, len(data) - 1, SIZE)))
    assert tcp.read(len(data), within=10) == data


@case("RFC9293 3.10.7.4 sequence")
def the_first_byte_beyond_the_window_is_refused(net):
    tcp = net.connect()
    edge = unread(tcp)
    data = pattern(edge - tcp.nxt)
    tcp.send(b"?", seq=edge)
    tcp.expect_next("A", ack=2, length=0)
    pieces(tcp, data, *((at, min(at + SIZE, len(data))) for at in range(0, len(data), SIZE)))
    assert tcp.read(len(data), within=10) == data
    assert is_all(tcp)
    tcp.send(b"!")
    assert tcp.read(1) == b"!"


@case("RFC9293 3.10.7.4 trimming", "RFC9293 SHLD-31")
def of_a_segment_across_the_edge_of_the_window_the_part_inside_is_taken(net):
    tcp = net.connect()
    edge = unread(tcp)
    data = pattern(edge - tcp.nxt)
    tcp.send(data[-10:] + b"0123456789", seq=edge - 10)
    tcp.expect_next("A", ack=2, length=0)
    pieces(tcp, data, *((at, min(at + SIZE, len(data) - 10)) for at in range(0, len(data) - 10, SIZE)))
    # Whether what lies beyond was cut off or not, this is where we are.
    tcp.nxt = edge + 10
    assert tcp.read(len(data), within=10) == data


@case("RFC9293 3.10.7.4 sequence")
def an_acknowledgement_beyond_the_window_draws_one(net):
    tcp = net.connect()
    edge = unread(tcp)
    tcp.send(seq=edge + 1)
    tcp.expect_next("A", seq=2, ack=2, length=0)
    tcp.send(b"alive")
    assert comes_back(tcp, b"alive")
