"""TCP: TIME-WAIT, as far as it can be seen without waiting for its end (RFC 9293 sections 3.6.1 and 3.10.7.4, RFC 6191).

That the wait lasts four minutes (2 MSL) takes as long to see, and hardly any stack keeps to it: what is asked for is
that it lasts at all. A reset may end it or not (RFC 1337).
"""

import time

from suite.cases import BOTH, case
from suite.setting import DAYTIME
from suite.tcp import MSS, TIMESTAMP


def time_wait(net, **how):
    """A connection that the target closed first and that has ended. `nxt` and `rcv` are beyond both FINs."""
    tcp = net.connect(DAYTIME, **how)
    tcp.expect("FA", within=2)
    tcp.send()
    tcp.send(flags="FA")
    tcp.expect("A", ack=2)
    return tcp


@case("RFC9293 3.10.7.4 TIME-WAIT", "RFC9293 MUST-13", needs=["daytime"], families=BOTH)
def a_fin_that_comes_again_to_time_wait_is_acknowledged(net):
    tcp = time_wait(net)
    for _ in range(3):
        tcp.send(flags="FA", seq=1)
        tcp.expect_next("A", seq=tcp.rcv, ack=2)
        time.sleep(0.6)


@case("RFC9293 MUST-13", needs=["daytime"])
def time_wait_lasts_for_seconds_at_least(net):
    tcp = time_wait(net)
    time.sleep(8)
    tcp.send(flags="FA", seq=1)
    tcp.expect_next("A", seq=tcp.rcv, ack=2)


@case("RFC9293 MAY-2", "RFC9293 3.10.7.4 syn", needs=["daytime"], families=BOTH)
def a_new_syn_to_time_wait_opens_a_connection_or_draws_an_ack(net):
    tcp = time_wait(net)
    tcp.send(flags="S", seq=100_000, options=[(MSS, 1460)])
    answer = tcp.expect()
    assert "R" not in answer.flags
    assert answer.ack == (100_001 if "S" in answer.flags else 2), answer


@case("RFC9293 MAY-2", needs=["daytime"])
def who_opens_a_connection_out_of_time_wait_begins_beyond_the_old_one(net):
    old = time_wait(net)
    new = net.tcp(DAYTIME, sport=old.sport, iss=(old.iss + 100_000) % (1 << 32))
    new.open()
    answer = new.expect()
    if "S" not in answer.flags:
        return  # it only acknowledges: a case of its own
    beyond = (new.irs - (old.irs + old.rcv)) % (1 << 32)
    assert beyond < 1 << 31
    new.send()
    assert new.expect("FA", within=2)


@case("RFC9293 3.10.7.4 TIME-WAIT", "RFC9293 3.10.7.4 syn", needs=["daytime"])
def an_old_syn_to_time_wait_draws_an_ack(net):
    tcp = time_wait(net)
    tcp.send(flags="S", seq=-1000, options=[(MSS, 1460)])
    tcp.expect_next("A", seq=tcp.rcv, ack=2)


@case("RFC9293 3.10.7.4 sequence", needs=["daytime"])
def old_data_to_time_wait_draws_an_ack(net):
    tcp = time_wait(net)
    tcp.send(b"stale", seq=-4)
    tcp.expect_next("A", seq=tcp.rcv, ack=2)


@case("RFC9293 3.10.7.4 reset", needs=["daytime"], families=BOTH)
def a_reset_to_time_wait_draws_nothing(net):
    tcp = time_wait(net)
    tcp.send(flags="R")
    tcp.send(flags="RA", seq=1)
    tcp.expect_nothing()
    net.is_alive()


@case("RFC9293 3.10.7.4 TIME-WAIT", needs=["daytime"])
def connections_in_time_wait_do_not_keep_others_out(net):
    old = time_wait(net)
    new = net.connect(DAYTIME)
    assert new.expect("FA", within=2)
    old.send(flags="FA", seq=1)
    old.expect("A", seq=old.rcv, ack=2)


@case("RFC6191 2 newer timestamp", needs=["daytime"], families=BOTH)
def a_syn_with_a_newer_timestamp_opens_a_connection_out_of_time_wait(net):
    old = time_wait(net, timestamps=True)
    old.needs(TIMESTAMP)
    # Its number alone would be an old one's.
    new = net.tcp(DAYTIME, sport=old.sport, iss=(old.iss - 100_000) % (1 << 32))
    new.send(flags="S", options=[(MSS, 1460), (TIMESTAMP, ((old.now() + 1000) % (1 << 32), 0))])
    new.expect("SA", ack=1)


@case("RFC6191 2 otherwise", needs=["daytime"], families=BOTH)
def a_syn_with_an_older_timestamp_opens_nothing_out_of_time_wait(net):
    old = time_wait(net, timestamps=True)
    old.needs(TIMESTAMP)
    stale = [(MSS, 1460), (TIMESTAMP, ((old.now() - 100_000) % (1 << 32), 0))]
    old.send(flags="S", seq=-1000, options=stale)
    old.expect_nothing(flags="SA")
    old.send(flags="FA", seq=1)
    old.expect("A", seq=old.rcv, ack=2)
