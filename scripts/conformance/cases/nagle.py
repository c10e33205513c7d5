"""TCP: few small segments (RFC 9293 sections 3.7.4 and 3.8.6.2.1).

Judged by chargen, which has no reason to switch Nagle's algorithm off. An echo has one, and may: no case asks whether
it holds a second small segment back.
"""

from suite.cases import BOTH, case
from suite.setting import CHARGEN

SIZE = 700


@case("RFC9293 SHLD-7", "RFC9293 SHLD-28", families=BOTH)
def while_data_is_on_the_way_only_full_segments_follow(net):
    tcp = net.connect(CHARGEN, mss=SIZE)
    first = tcp.expect("A", length=lambda length: length)
    segments = [segment for segment in tcp.collect(0.15) if segment.length and segment.seq > first.seq]
    assert segments and all(segment.length == SIZE for segment in segments), segments


@case("RFC9293 SHLD-28", "RFC9293 MUST-38")
def a_stream_goes_on_in_full_segments(net):
    tcp, full = net.connect(CHARGEN, mss=SIZE, window=5 * SIZE), 0
    last = tcp.expect("A", length=lambda length: length)
    for _ in range(60):
        last = tcp.expect("A", seq=last.end)
        full += last.length == SIZE
        # One is always on the way. A small one may go if none such is (Minshall's variant of Nagle's algorithm, which
        # Linux has), or if it has waited for long.
        tcp.send(ack=last.seq)
    assert full > 40, full
