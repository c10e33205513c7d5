"""TCP: urgent data (RFC 9293 section 3.8.5).

That the application is told of it cannot be seen from outside; that nothing is lost or made up by it can.
"""

from suite.cases import BOTH, case

TAKEN_OUT = ("takes the last urgent byte out of the stream unless the socket has SO_OOBINLINE (tcp_check_urg in "
             "net/ipv4/tcp_input.c; RFC 6093 section 3.2 discusses it)")


@case("RFC9293 MUST-30", "RFC9293 MUST-31", families=BOTH, linux=TAKEN_OUT)
def urgent_data_stays_in_the_stream(net):
    tcp = net.connect()
    tcp.send(b"calm URGENT calm", flags="PAU", urgptr=11)
    assert tcp.read(16) == b"calm URGENT calm"


@case("RFC9293 MUST-30", "RFC9293 MUST-31")
def an_urgent_pointer_may_lie_beyond_the_segment(net):
    tcp = net.connect()
    for at in range(0, 20, 5):
        tcp.send(b"abcde", flags="PAU", urgptr=1000 - at)
    assert tcp.read(20) == b"abcde" * 4


@case("RFC9293 MUST-30", families=BOTH)
def without_urg_the_pointer_means_nothing(net):
    tcp = net.connect()
    tcp.send(b"not urgent", urgptr=5)
    assert tcp.read(10) == b"not urgent"


@case("RFC9293 MUST-30")
def urgent_segments_without_data_do_no_harm(net):
    tcp = net.connect()
    tcp.send(flags="AU", urgptr=0)
    tcp.send(flags="AU", urgptr=60_000)
    tcp.send(b"data", flags="PA")
    assert tcp.read(4) == b"data"


@case("RFC9293 MUST-30", "RFC9293 3.10.7.4 urgent")
def urgent_data_with_a_fin_does_not_keep_it_from_closing(net):
    tcp = net.connect()
    tcp.send(b"the end", flags="FPAU", urgptr=100)
    assert tcp.read(7) == b"the end"
    assert tcp.rcv == 9 or tcp.expect("FA", seq=8, ack=9)


@case("RFC9293 MUST-62")
def what_is_not_urgent_is_sent_without_urg(net):
    tcp = net.connect()
    tcp.send(b"calm")
    segment = tcp.expect("A", data=b"calm")
    assert "U" not in segment.flags
