"""TCP: keep-alive (RFC 9293 section 3.8.4).

Services do not ask for it, so all that can be seen is that it is off, and that the probes of others are answered.
"""

import time

from suite.cases import BOTH, case


@case("RFC9293 MUST-25", "RFC9293 MUST-28")
def an_idle_connection_is_silent(net):
    tcp = net.connect()
    tcp.expect_nothing(for_=10)
    tcp.send(b"still there?")
    assert tcp.read(12) == b"still there?"


@case("RFC9293 MUST-26", "RFC9293 MUST-28")
def a_connection_that_was_busy_becomes_silent(net):
    tcp = net.connect()
    tcp.send(b"busy")
    assert tcp.read(4) == b"busy"
    tcp.collect(0.3)
    tcp.send()
    tcp.expect_nothing(for_=5)


@case("RFC9293 3.8.4 probe", families=BOTH)
def a_keep_alive_probe_is_answered(net):
    tcp = net.connect()
    for _ in range(3):
        tcp.send(seq=0)
        tcp.expect_next("A", seq=1, ack=1, length=0)
        time.sleep(0.6)


@case("RFC9293 3.8.4 probe", families=BOTH)
def the_garbage_of_a_keep_alive_probe_is_not_delivered(net):
    tcp = net.connect()
    tcp.send(b"before")
    assert tcp.read(6) == b"before"
    tcp.collect(0.1)
    tcp.send(b"?", seq=6, flags="A")
    tcp.expect_next("A", ack=7, length=0)
    tcp.send(b"after")
    assert tcp.read(5) == b"after"


@case("RFC9293 3.8.4 probe")
def a_keep_alive_probe_after_the_peers_fin_is_answered(net):
    tcp = net.connect(window=1)
    tcp.send(b"hi", flags="FPA")
    tcp.expect(ack=4)
    tcp.collect(0.1)
    tcp.send(seq=3)
    tcp.expect("A", ack=4)
