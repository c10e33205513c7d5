"""TCP: every state that can be reached from outside, and every kind of segment there (RFC 9293 section 3.10.7.4).

A case is a kind of segment; its rows are states. Each state says how the target gets there, and how it shows that it
is still there: by a byte that comes back, by its FIN that it sends again, or by the rest of the close. SYN-SENT has a
file of its own (active_open), LISTEN and CLOSED are in handshake.
"""

from dataclasses import dataclass

import pytest

from suite.cases import case
from suite.setting import CHARGEN, DAYTIME

OLD, BEYOND = -1000, 200_000  # before the window, and past it: none here is more than 65535


@dataclass(frozen=True)
class State:
    """How a target gets into a state, and shows that it has not left it."""

    name: str
    enter: object
    remains: object
    fin_came: bool = False  # the tester's
    fin_pending: bool = False  # the target's, unacknowledged


@dataclass
class Visit:
    """A connection in a state."""

    state: State
    tcp: object
    ack: int  # what the tester acknowledges if it is to change nothing

    def send(self, data=b"", flags=None, seq=0, **how):
        """A segment that begins so many bytes from the one that the target waits for."""
        flags = flags if flags is not None else ("PA" if data else "A")
        if "A" in flags:
            how.setdefault("ack", self.ack)
        self.tcp.send(data, flags=flags, seq=self.tcp.nxt + seq, options=[], **how)

    def expect_ack(self):
        """An acknowledgement of all that has come and no more, as for what is not acceptable."""
        return self.tcp.expect("A", ack=self.tcp.nxt)

    def remains(self):
        """Fails if the target is not in that state any more."""
        self.state.remains(self)

    def is_gone(self):
        """Fails if the target knows the connection still."""
        self.tcp.net.forget()
        self.tcp.send(b"", flags="A", seq=self.tcp.nxt, ack=1000)
        self.tcp.expect_next("R", seq=1000)

    def expect_no_ack(self):
        """Fails if the target acknowledges. What it has sent may be sent again."""
        if self.state is CLOSE_WAIT:
            return  # it probes the window, and that looks alike
        if self.state.fin_pending:
            self.tcp.expect_nothing(flags="A", length=0)
        else:
            self.tcp.expect_nothing()


# How it gets there

def syn_received(net):
    tcp = net.tcp()
    tcp.open()
    tcp.expect("SA", ack=1)
    return Visit(SYN_RECEIVED, tcp, 1)


def established(net):
    tcp = net.connect()
    echoes(Visit(ESTABLISHED, tcp, 1))
    return Visit(ESTABLISHED, tcp, 6)


def close_wait(net):
    # Chargen has no end of things to say, and no room to say it.
    tcp = net.connect(CHARGEN, window=0)
    tcp.send(flags="FA")
    tcp.expect("A", ack=2)
    return Visit(CLOSE_WAIT, tcp, 1)


def last_ack(net):
    tcp = net.connect()
    tcp.send(flags="FA")
    tcp.expect("FA", ack=2)
    return Visit(LAST_ACK, tcp, 1)


def fin_wait_1(net):
    tcp = net.connect(DAYTIME)
    tcp.expect("FA")
    return Visit(FIN_WAIT_1, tcp, tcp.fin)


def fin_wait_2(net):
    visit = fin_wait_1(net)
    visit.tcp.send()
    visit.tcp.net.is_alive()  # by now it has been taken in
    return Visit(FIN_WAIT_2, visit.tcp, visit.ack + 1)


def closing(net):
    visit = fin_wait_1(net)
    visit.tcp.send(flags="FA", ack=visit.ack)
    visit.tcp.expect("A", ack=2)
    return Visit(CLOSING, visit.tcp, visit.ack)


def time_wait(net):
    visit = fin_wait_2(net)
    visit.tcp.send(flags="FA")
    visit.tcp.expect("A", ack=2)
    return Visit(TIME_WAIT, visit.tcp, visit.ack)


# How it shows that it is still there

def opens(visit):
    visit.tcp.send()
    echoes(visit)


def echoes(visit):
    visit.tcp.send(b"hello")
    assert visit.tcp.read(5) == b"hello"


def goes_on(visit):
    visit.tcp.window = 2000
    visit.tcp.send()
    visit.tcp.read(1000)


def repeats_its_fin(visit):
    visit.tcp.net.forget()
    visit.tcp.expect("FA", end=visit.tcp.fin + 1, within=5)


def acknowledges_the_fin(visit):
    """Then it is in TIME-WAIT, and acknowledges the FIN once more."""
    visit.tcp.send(flags="FA", ack=visit.tcp.fin + 1)
    visit.tcp.expect("A", ack=2)


def repeats_its_fin_and_waits(visit):
    repeats_its_fin(visit)
    visit.tcp.send(ack=visit.tcp.fin + 1)
    acknowledges_the_fin_again(visit)


def acknowledges_the_fin_again(visit):
    visit.tcp.net.forget()
    visit.tcp.send(flags="FA", seq=1, ack=visit.tcp.fin + 1)
    visit.tcp.expect("A", seq=visit.tcp.fin + 1, ack=2)


SYN_RECEIVED = State("SYN-RECEIVED", syn_received, opens)
ESTABLISHED = State("ESTABLISHED", established, echoes)
FIN_WAIT_1 = State("FIN-WAIT-1", fin_wait_1, repeats_its_fin, fin_pending=True)
FIN_WAIT_2 = State("FIN-WAIT-2", fin_wait_2, acknowledges_the_fin)
CLOSE_WAIT = State("CLOSE-WAIT", close_wait, goes_on, fin_came=True)
CLOSING = State("CLOSING", closing, repeats_its_fin_and_waits, fin_came=True, fin_pending=True)
LAST_ACK = State("LAST-ACK", last_ack, repeats_its_fin, fin_came=True, fin_pending=True)
TIME_WAIT = State("TIME-WAIT", time_wait, acknowledges_the_fin_again, fin_came=True)

SYNCHRONISED = [ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK]
ALL = [SYN_RECEIVED, *SYNCHRONISED, TIME_WAIT]


def in_states(states):
    """A row for each state; the case then finds the connection in it as `visit`."""
    return pytest.mark.parametrize("state", [pytest.param(state, id=f"in {state.name}") for state in states])


def visit(net, state):
    if state in (FIN_WAIT_1, FIN_WAIT_2, CLOSING, TIME_WAIT):
        net.needs("daytime")
    return state.enter(net)


# First the sequence number

@case("RFC9293 3.10.7.4 sequence")
@in_states(ALL)
def old_data_again_draws_an_acknowledgement_and_nothing_else(net, state):
    there = visit(net, state)
    there.send(b"x", seq=OLD)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 sequence")
@in_states(ALL)
def data_beyond_the_window_draws_an_acknowledgement_and_nothing_else(net, state):
    there = visit(net, state)
    there.send(b"x", seq=BEYOND)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 sequence")
@in_states(SYNCHRONISED)
def an_empty_segment_before_the_window_draws_an_acknowledgement(net, state):
    there = visit(net, state)
    there.send(seq=-1)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 sequence")
@in_states(SYNCHRONISED)
def a_fin_beyond_the_window_draws_an_acknowledgement_and_nothing_else(net, state):
    there = visit(net, state)
    there.send(flags="FA", seq=BEYOND)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 sequence")
@in_states([FIN_WAIT_1, CLOSING, LAST_ACK])
def an_acknowledgement_outside_the_window_does_not_count(net, state):
    there = visit(net, state)
    there.send(b"x", seq=BEYOND, ack=there.tcp.fin + 1)
    there.expect_ack()
    repeats_its_fin(there)


# Second resets

@case("RFC9293 3.10.7.4 reset", "RFC5961 3.2 exact")
@in_states([SYN_RECEIVED, *SYNCHRONISED])
def a_reset_at_the_next_number_ends_the_connection(net, state):
    there = visit(net, state)
    there.send(flags="R")
    there.is_gone()


@case("RFC9293 3.10.7.4 reset", "RFC9293 SHLD-2")
@in_states(SYNCHRONISED)
def a_reset_with_data_ends_the_connection_too(net, state):
    there = visit(net, state)
    there.send(b"go away", flags="RA")
    there.is_gone()


@case("RFC9293 3.10.7.4 reset", "RFC5961 3.2 in window")
@in_states([SYN_RECEIVED, *SYNCHRONISED])
def a_reset_elsewhere_in_the_window_draws_a_challenge(net, state):
    there = visit(net, state)
    there.send(flags="R", seq=10)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 reset", "RFC5961 3.2 outside")
@in_states(ALL)
def a_reset_before_the_window_draws_nothing(net, state):
    there = visit(net, state)
    there.send(flags="R", seq=OLD)
    there.expect_no_ack()
    there.remains()


@case("RFC9293 3.10.7.4 reset", "RFC5961 3.2 outside")
@in_states(ALL)
def a_reset_beyond_the_window_draws_nothing(net, state):
    there = visit(net, state)
    there.send(flags="RA", seq=BEYOND)
    there.expect_no_ack()
    there.remains()


@case("RFC9293 3.10.7.4 reset")
def in_time_wait_a_reset_draws_nothing(net):
    # Whether it ends TIME-WAIT is left open: RFC 1337 would rather that it didn't.
    there = visit(net, TIME_WAIT)
    there.send(flags="R")
    there.tcp.expect_nothing()
    net.is_alive()


# Fourth SYNs

@case("RFC9293 3.10.7.4 syn", "RFC5961 4.2")
@in_states(SYNCHRONISED)
def a_syn_in_the_window_draws_a_challenge(net, state):
    there = visit(net, state)
    there.send(flags="S", seq=10)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 syn", "RFC5961 4.2")
@in_states([*SYNCHRONISED, TIME_WAIT])
def an_old_syn_draws_an_acknowledgement(net, state):
    there = visit(net, state)
    there.send(flags="S", seq=OLD)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 syn", "RFC5961 4.2")
@in_states(SYNCHRONISED)
def a_syn_beyond_the_window_draws_a_challenge(net, state):
    there = visit(net, state)
    there.send(flags="S", seq=BEYOND)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 syn", "RFC5961 4.2")
@in_states(SYNCHRONISED)
def a_syn_ack_draws_a_challenge(net, state):
    there = visit(net, state)
    there.send(flags="SA", seq=0)
    there.expect_ack()
    there.remains()


# Fifth acknowledgements

@case("RFC9293 3.10.7.4 no ack")
@in_states(SYNCHRONISED)
def without_an_acknowledgement_nothing_counts(net, state):
    there = visit(net, state)
    # Its number would count if the flag said so; so would its data and its FIN.
    there.send(b"x", flags="FP", ack=there.tcp.rcv)
    there.tcp.expect_nothing(ack=lambda ack: ack > there.tcp.nxt)
    there.remains()


@case("RFC9293 3.10.7.4 ack", "RFC5961 5.2 range")
@in_states(SYNCHRONISED)
def what_acknowledges_more_than_was_sent_is_dropped(net, state):
    there = visit(net, state)
    there.send(b"x", ack=there.tcp.rcv + 1000)
    there.tcp.expect_nothing(ack=lambda ack: ack > there.tcp.nxt)
    there.remains()


@case("RFC9293 3.10.7.4 ack", "RFC5961 5.2 range")
@in_states(SYNCHRONISED)
def what_acknowledges_more_than_was_sent_draws_an_acknowledgement(net, state):
    there = visit(net, state)
    there.send(ack=there.tcp.rcv + 1000)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 ack")
@in_states([*SYNCHRONISED, TIME_WAIT])
def an_old_acknowledgement_changes_nothing(net, state):
    there = visit(net, state)
    there.send(ack=1)
    there.tcp.expect_nothing(for_=0.1, flags="R")
    there.remains()


@case("RFC9293 3.10.7.4 ack of fin")
def in_fin_wait_1_the_acknowledgement_of_the_fin_ends_its_retransmission(net):
    there = visit(net, FIN_WAIT_1)
    there.tcp.send()
    net.is_alive()
    net.forget()
    there.tcp.expect_nothing(for_=1.5)
    acknowledges_the_fin(there)


@case("RFC9293 3.10.7.4 ack of fin")
def in_last_ack_the_acknowledgement_of_the_fin_ends_the_connection(net):
    there = visit(net, LAST_ACK)
    there.tcp.send()
    there.is_gone()


@case("RFC9293 3.10.7.4 ack of fin")
def in_closing_the_acknowledgement_of_the_fin_leads_to_time_wait(net):
    there = visit(net, CLOSING)
    there.tcp.send()
    net.is_alive()
    net.forget()
    there.tcp.expect_nothing(for_=1.5)
    acknowledges_the_fin_again(there)


# Sixth the urgent pointer

@case("RFC9293 3.10.7.4 urgent", "RFC9293 MUST-30")
@in_states([*SYNCHRONISED, TIME_WAIT])
def an_urgent_pointer_without_data_changes_nothing(net, state):
    there = visit(net, state)
    there.send(flags="UA", urgptr=100)
    there.tcp.expect_nothing(for_=0.1, flags="R")
    there.remains()


# Seventh data

@case("RFC9293 3.10.7.4 text")
@in_states([CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT])
def data_after_the_fin_is_not_taken(net, state):
    there = visit(net, state)
    there.send(b"x")
    there.tcp.expect_nothing(ack=lambda ack: ack > there.tcp.nxt)
    there.remains()


@case("RFC9293 3.10.7.4 text")
@in_states([CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT])
def the_last_data_and_the_fin_may_come_again(net, state):
    there = visit(net, state)
    there.send(b"xyz", flags="FA", seq=-4)
    there.expect_ack()
    there.remains()


# Eighth FINs

@case("RFC9293 3.10.7.4 fin")
@in_states([CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT])
def a_fin_that_comes_again_draws_an_acknowledgement(net, state):
    there = visit(net, state)
    there.send(flags="FA", seq=-1)
    there.expect_ack()
    there.remains()


@case("RFC9293 3.10.7.4 fin")
@in_states([CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT])
def a_second_fin_behind_the_first_is_not_taken(net, state):
    there = visit(net, state)
    there.send(flags="FA")
    there.tcp.expect_nothing(ack=lambda ack: ack > there.tcp.nxt)
    there.remains()


@case("RFC9293 3.10.7.4 fin")
@in_states([ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2])
def the_fin_is_acknowledged(net, state):
    there = visit(net, state)
    there.tcp.send(flags="FA", ack=there.ack)
    there.tcp.expect(ack=there.tcp.nxt)


@case("RFC9293 3.10.7.4 fin")
@in_states([ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2])
def a_fin_ahead_of_lost_data_waits_for_it(net, state):
    there = visit(net, state)
    there.send(flags="FA", seq=10)
    there.tcp.expect_nothing(ack=lambda ack: ack > there.tcp.nxt)
    there.send(bytes(10), flags="FA")
    there.tcp.expect(ack=there.tcp.nxt + 11)


@case("RFC9293 3.10.7.4 fin", "RFC9293 3.10.7.4 ack of fin")
def in_fin_wait_1_a_fin_that_acknowledges_the_fin_leads_to_time_wait(net):
    there = visit(net, FIN_WAIT_1)
    there.tcp.send(flags="FA")
    there.tcp.expect("A", ack=2)
    acknowledges_the_fin_again(there)
