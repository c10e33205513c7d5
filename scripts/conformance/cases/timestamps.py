"""TCP: timestamps and PAWS (RFC 7323 sections 3 to 5), where the target negotiates them."""

import time

from suite.cases import BOTH, case
from suite.setting import CHARGEN, DISCARD
from suite.tcp import ANY, TIMESTAMP, WSCALE


def connect(net, port=DISCARD, **how):
    tcp = net.connect(port, timestamps=True, **how)
    tcp.needs(TIMESTAMP)
    return tcp


def stamped(tcp, value):
    """Options with a TSval that the case chooses."""
    return [("NOP", None), ("NOP", None), (TIMESTAMP, (value % (1 << 32), tcp.clock))]


@case("RFC7323 2.2 both", families=BOTH)
def options_that_were_not_offered_are_not_answered(net):
    tcp = net.tcp()
    tcp.open()
    tcp.expect("SA", options={TIMESTAMP: None, WSCALE: None})
    tcp.send()
    tcp.send(b"plain")
    tcp.expect("A", data=b"plain", options={TIMESTAMP: None})


@case("RFC7323 4.3 echo", families=BOTH)
def a_syn_ack_echoes_the_syns_timestamp(net):
    tcp = net.tcp()
    tcp.send(flags="S", options=[("MSS", 1460), (TIMESTAMP, (123_456_789, 0))])
    tcp.expect("SA", options={})
    tcp.needs(TIMESTAMP)
    assert tcp.options[TIMESTAMP][1] == 123_456_789


@case("RFC7323 3.2 every segment", families=BOTH)
def every_segment_has_timestamps(net):
    tcp = connect(net, CHARGEN, window=10_000)
    for _ in range(30):
        tcp.expect("A", options={TIMESTAMP: ANY})
        tcp.send()
    tcp.send(flags="FA")
    tcp.expect(ack=2, options={TIMESTAMP: ANY})


@case("RFC7323 4.3 echo")
def data_has_its_timestamp_echoed(net):
    tcp = connect(net)
    for number in range(1, 6):
        value = (tcp.now() + 1000 * number) % (1 << 32)
        tcp.send(b"x", options=stamped(tcp, value))
        tcp.expect("A", ack=1 + number, options={TIMESTAMP: lambda stamp: stamp[1] == value})


@case("RFC7323 4.3 echo")
def what_is_out_of_order_does_not_have_its_timestamp_echoed(net):
    tcp = connect(net)
    now = tcp.now()
    tcp.send(b"first", options=stamped(tcp, now + 100))
    tcp.expect("A", ack=6)
    tcp.send(b"early", seq=11, options=stamped(tcp, now + 200))
    tcp.expect("A", ack=6, options={TIMESTAMP: lambda stamp: stamp[1] == (now + 100) % (1 << 32)})
    tcp.send(b"later", options=stamped(tcp, now + 300))
    tcp.expect("A", ack=16, options={TIMESTAMP: lambda stamp: stamp[1] == (now + 300) % (1 << 32)})


@case("RFC7323 4.1 clock")
def the_clock_of_timestamps_goes_on(net):
    tcp, stamps = connect(net), []
    for number in range(10):
        tcp.send(b"x")
        stamps.append(tcp.expect("A", ack=2 + number, options={TIMESTAMP: ANY}).options[TIMESTAMP][0])
        time.sleep(0.15)
    steps = [(later - earlier) % (1 << 32) for earlier, later in zip(stamps, stamps[1:])]
    # From 1 ms to 1 s a tick: RFC 7323 section 5.4.
    assert max(steps) < 1 << 31 and 1 <= sum(steps) < 1 << 24, stamps


@case("RFC7323 5.3 PAWS", families=BOTH)
def a_segment_from_the_past_is_refused(net):
    tcp = connect(net, port=7)
    now = tcp.now()
    tcp.send(b"now", options=stamped(tcp, now + 5000))
    assert tcp.read(3, acknowledge=False) == b"now"
    tcp.send(options=stamped(tcp, now + 5001))
    tcp.collect(0.1)
    tcp.send(b"old", seq=4, options=stamped(tcp, now + 1000))
    tcp.expect("A", ack=4, length=0)
    tcp.send(b"new", options=stamped(tcp, now + 6000))
    tcp.expect("A", data=b"new")


@case("RFC7323 5.3 PAWS")
def timestamps_wrap(net):
    tcp = net.tcp()
    tcp.send(flags="S", options=[("MSS", 1460), (TIMESTAMP, ((1 << 32) - 10, 0))])
    tcp.expect("SA")
    tcp.needs(TIMESTAMP)
    tcp.send(options=stamped(tcp, (1 << 32) - 5))
    tcp.send(b"beyond", options=stamped(tcp, (1 << 32) + 5))
    tcp.expect("A", data=b"beyond", options={TIMESTAMP: lambda stamp: stamp[1] == 5})


@case("RFC7323 3.2 missing", linux="takes it: tcp_validate_incoming in net/ipv4/tcp_input.c judges timestamps if "
                                   "there are any (RFC 7323 section 3.2 says SHOULD)")
def a_segment_without_the_timestamps_agreed_upon_is_dropped(net):
    tcp = connect(net, port=7)
    tcp.send(b"bare", options=[])
    tcp.expect_nothing(length=lambda length: length)


@case("RFC7323 3.2 reset", families=BOTH)
def a_reset_needs_no_timestamps(net):
    tcp = connect(net)
    tcp.send(flags="R", options=[])
    tcp.expect_nothing(for_=0.2)
    tcp.send(flags="A")
    tcp.expect_reset()


@case("RFC7323 3.2 reset", "RFC7323 5.3 PAWS")
def a_reset_from_the_past_is_heard(net):
    tcp = connect(net)
    now = tcp.now()
    tcp.send(b"now", options=stamped(tcp, now + 5000))
    tcp.expect("A", ack=4)
    tcp.send(flags="R", options=stamped(tcp, now + 1000))
    tcp.send(flags="A")
    tcp.expect_reset()


@case("RFC7323 3.2 reset")
def a_reset_that_is_not_believed_does_not_move_the_clock(net):
    tcp = connect(net, port=7)
    now = tcp.now()
    tcp.send(b"now", options=stamped(tcp, now + 5000))
    assert tcp.read(3) == b"now"
    tcp.send(flags="R", seq=104, options=stamped(tcp, now + 1_000_000))
    tcp.send(b"new", options=stamped(tcp, now + 6000))
    tcp.expect("A", data=b"new")


@case("RFC7323 3.2 no abort")
def segments_without_the_timestamps_agreed_upon_end_nothing(net):
    tcp = connect(net, port=7)
    for _ in range(5):
        tcp.send(b"bare", seq=1, options=[])
        tcp.expect_nothing(for_=0.1, flags="R")
    tcp.send(b"bare")
    assert tcp.read(4) == b"bare"


@case("RFC7323 3.2 not agreed", families=BOTH)
def timestamps_that_nobody_has_agreed_upon_are_ignored(net):
    tcp = net.connect(7)
    tcp.clock = 0  # what the options below would echo
    for word, value in ((b"one", 5000), (b"two", 1000)):
        tcp.send(word, options=stamped(tcp, value))
        tcp.expect("A", data=word, options={TIMESTAMP: None})


@case("RFC7323 5.3 when it comes")
def what_waits_behind_a_gap_is_not_judged_again(net):
    tcp = connect(net, port=7)
    now = tcp.now()
    tcp.send(b"first", options=stamped(tcp, now + 100))
    assert tcp.read(5) == b"first"
    tcp.send(b"third", seq=11, options=stamped(tcp, now + 200))
    tcp.expect("A", ack=6)
    tcp.send(b"other", options=stamped(tcp, now + 5000))
    assert tcp.read(10) == b"otherthird"


@case("RFC7323 5.3 PAWS")
def a_fin_from_the_past_ends_nothing(net):
    tcp = connect(net, port=7)
    now = tcp.now()
    tcp.send(b"now", options=stamped(tcp, now + 5000))
    assert tcp.read(3) == b"now"
    tcp.collect(0.1)
    tcp.send(flags="FA", seq=4, options=stamped(tcp, now + 1000))
    tcp.expect("A", ack=4, length=0)
    tcp.send(b"new", options=stamped(tcp, now + 6000))
    tcp.expect("A", data=b"new")
