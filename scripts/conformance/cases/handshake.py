"""TCP: how connections begin (RFC 9293 sections 3.5, 3.7.1 and 3.10.7.2)."""

from suite.cases import BOTH, case
from suite.tcp import ANY, MSS


@case("RFC9293 MUST-14", families=BOTH)
def a_syn_draws_a_syn_ack_with_an_mss(net):
    tcp = net.tcp()
    tcp.open()
    tcp.expect("SA", seq=0, ack=1, options={MSS: ANY})


@case("RFC9293 MUST-3", families=BOTH)
def a_syn_with_a_wrong_checksum_draws_nothing(net):
    tcp = net.tcp()
    tcp.open(chksum=0x1234)
    tcp.expect_nothing()


@case("RFC9293 MUST-60", families=BOTH)
def what_is_sent_to_echo_comes_back(net):
    tcp = net.connect()
    tcp.send(b"hello")
    tcp.expect("A", ack=6)
    assert tcp.read(5) == b"hello"
    tcp.send(flags="FA")
    tcp.expect("FA", ack=7)
    tcp.send()
    tcp.expect_nothing()
