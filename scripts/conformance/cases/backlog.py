"""TCP: many connections at once, half-open ones and established ones (RFC 9293 sections 3.10.7.2 and 3.10.7.4).

What a stack does when its queue of half-open connections is full (drop the SYN or the oldest, answer with a cookie) is
its own affair: what may not suffer is what is established.
"""

from scapy.layers.inet import TCP

from suite.cases import BOTH, case
from suite.tcp import pattern

MANY = 400  # more than the backlog of the services


def flood(net):
    """Many SYNs, none of which will be followed by anything."""
    flooders = [net.tcp(src=net.host(number % 100), sport=10_000 + number) for number in range(MANY)]
    net.send(*(flooder.segment(flags="S", options=[("MSS", 1460)]) for flooder in flooders))
    return flooders


@case("RFC9293 MUST-41", families=BOTH)
def a_flood_of_syns_does_not_disturb_a_connection(net):
    tcp = net.connect()
    tcp.send(b"before")
    assert tcp.read(6) == b"before"
    flood(net)
    tcp.send(b"after")
    assert tcp.read(5, within=5) == b"after"


@case("RFC9293 3.10.7.2 syn")
def a_flood_of_syns_draws_no_resets(net):
    flood(net)
    net.expect_nothing(TCP, flags=lambda flags: "R" in flags)
    net.is_alive()


@case("RFC9293 3.10.7.4 reset while opening")
def when_a_flood_has_been_reset_others_can_connect(net):
    for flooder in flood(net):
        flooder.irs = 0
        flooder.send(flags="R", seq=1)
    tcp = net.connect(within=8)
    tcp.send(b"at last")
    assert tcp.read(7) == b"at last"


@case("RFC9293 MUST-42", families=BOTH)
def connections_beside_each_other_keep_to_their_own(net):
    connections = [net.connect() for _ in range(30)]
    for number, tcp in enumerate(connections):
        tcp.send(pattern(200 + number)[number:])
    for number, tcp in reversed(list(enumerate(connections))):
        assert tcp.read(200) == pattern(200 + number)[number:]


@case("RFC9293 MUST-42")
def the_same_port_of_two_hosts_makes_two_connections(net):
    one = net.connect(src=net.host(1), sport=5000)
    other = net.connect(src=net.host(2), sport=5000)
    other.send(b"other")
    one.send(b"one")
    assert one.read(3) == b"one"
    assert other.read(5) == b"other"
    one.send(flags="R")
    other.send(b"still here")
    assert other.read(10) == b"still here"
