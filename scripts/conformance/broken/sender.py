"""The sending half of a connection: what may go out, when it goes out again, and how fast (RFCs 5681, 6298, 9293)."""

import time

from broken import faults
from broken.segment import WSCALE, minus, mss_of, plus
from suite.setting import MTU

OUR_MSS = MTU - 40
SPACE = 65536  # bytes that a service may have written and the peer not acknowledged
MIN_RTO, MAX_RTO, FIRST_RTO = 1.0, 60.0, 1.0
TRIES = 12
FIRST_WINDOW = 10  # segments: RFC 6928


class Sender:
    """`outgoing` are bytes from `out_from` on; `snd_max` is how far anything was sent, `snd_nxt` what goes next."""

    def __init__(self, layer, syn, iss):
        self.layer, self.key = layer, syn.key
        self.iss = self.snd_una = iss
        self.snd_nxt = self.snd_max = self.out_from = plus(iss, 1)
        self.mss = min(mss_of(syn.options), OUR_MSS)
        self.scales = WSCALE in syn.options
        self.snd_shift = min(syn.options[WSCALE][0], 14) if self.scales else 0
        self.snd_wnd = self.max_wnd = syn.window
        self.outgoing, self.is_closing, self.fin = bytearray(), False, None
        self.timers, self.sent_at = {}, time.monotonic()
        self.rto, self.srtt, self.rttvar, self.timed, self.tries = FIRST_RTO, None, None, None, 0
        self.cwnd, self.ssthresh = FIRST_WINDOW * self.mss, 1 << 30
        self.again, self.recover = 0, None  # duplicate acknowledgements; where a recovery ends

    # What the service may do

    def space(self):
        return 0 if self.is_closing else max(SPACE - len(self.outgoing), 0)

    def write(self, data):
        if data:
            self.outgoing += data
            self.push()

    def close(self):
        """No more will be written: a FIN goes after the last byte."""
        if not self.is_closing:
            self.is_closing = True
            self.state = "LAST-ACK" if self.state == "CLOSE-WAIT" else "FIN-WAIT-1"

    # What goes out

    def send_syn(self):
        options = [] if faults.on("the SYN-ACK has no MSS") else [("MSS", OUR_MSS)]
        if self.scales or faults.on("a window scale that was not offered"):
            options += [("NOP", None), ("WScale", 0)]
        ack = self.irs if faults.on("the SYN is not acknowledged") else self.rcv_nxt
        self.layer.send(self.key, "SA", self.iss, ack, 65535, options=options)
        if "retransmit" not in self.timers:
            self.timers["retransmit"] = time.monotonic() + self.rto

    def send_ack(self):
        self.emit(self.snd_max, b"")

    def emit(self, seq, data, fin=False):
        """A segment with what there is to acknowledge."""
        flags = "F" * fin + "P" * bool(data and minus(plus(seq, len(data)), self.end_of_data()) == 0) + "A"
        self.layer.send(self.key, flags, seq, self.rcv_nxt, min(max(self.window(), 0), 65535), data)
        self.timers.pop("ack", None)
        self.owed = 0
        if data:
            self.sent_at = time.monotonic()
        if fin:
            self.fin = plus(seq, len(data))
        end = plus(seq, len(data) + fin)
        if minus(end, self.snd_max) > 0:
            self.snd_max = end
            if self.timed is None:
                self.timed = (end, time.monotonic())
        if (data or fin) and "retransmit" not in self.timers and "persist" not in self.timers:
            self.timers["retransmit"] = time.monotonic() + self.rto

    def end_of_data(self):
        return plus(self.out_from, len(self.outgoing))

    def in_flight(self):
        return minus(self.snd_max, self.snd_una)

    def push(self):
        """Sends what windows, Nagle's algorithm and silly window avoidance let out (RFC 9293 sections 3.7.4, 3.8.6.2.1)."""
        if self.state in ("SYN-RECEIVED", "TIME-WAIT", "CLOSED"):
            return
        if self.in_flight() == 0 and time.monotonic() - self.sent_at > self.rto:
            self.cwnd = min(self.cwnd, FIRST_WINDOW * self.mss)  # RFC 5681 section 4.1
        while True:
            unsent = minus(self.end_of_data(), self.snd_nxt)
            if unsent < 0:  # the FIN was sent
                break
            window = 1 << 30 if faults.on("the window of the peer is not honoured") else self.snd_wnd
            room = (window if faults.on("all is sent at once") else min(window, self.cwnd)) - minus(self.snd_nxt, self.snd_una)
            size = max(min(unsent, room, self.mss), 0)
            fin = self.is_closing and size == unsent and room > size
            idle = self.in_flight() == 0 or minus(self.snd_nxt, self.snd_max) < 0 or faults.on("no Nagle")
            worth_it = size == self.mss or size >= self.max_wnd / 2 or (size == unsent and idle) \
                or faults.on("segments of any size")
            if not fin and (size == 0 or not worth_it):
                break
            self.emit(self.snd_nxt, self.bytes_at(self.snd_nxt, size), fin)
            self.snd_nxt = plus(self.snd_nxt, size + fin)
        waits = unsent > 0 or (self.is_closing and unsent == 0)
        if waits and (self.in_flight() == 0 or self.snd_wnd == 0) and "persist" not in self.timers \
                and not faults.on("no window probes"):
            self.timers.pop("retransmit", None)
            self.tries = 0
            self.timers["persist"] = time.monotonic() + self.rto

    def bytes_at(self, seq, size):
        at = minus(seq, self.out_from)
        return bytes(self.outgoing[at:at + size])

    # What is heard of it

    def established(self):
        """The handshake is over."""
        self.timers.pop("retransmit", None)
        if self.tries > 0:
            self.rto, self.cwnd = 3.0, self.mss  # RFC 6298 section 5.7, RFC 5681 section 3.1
        self.tries = 0

    def set_window(self, window):
        was_shut = self.snd_wnd == 0
        self.snd_wnd = window
        self.max_wnd = max(self.max_wnd, window)
        if was_shut and window > 0:
            self.timers.pop("persist", None)
            if self.tries > 0:
                self.snd_nxt = self.snd_una  # what a probe carried was refused, as far as is known
            elif self.in_flight():
                self.timers.setdefault("retransmit", time.monotonic() + self.rto)

    def acked(self, ack):
        """Something new is acknowledged."""
        count = minus(ack, self.snd_una)
        if self.timed is not None and minus(ack, self.timed[0]) >= 0:
            self.measured(time.monotonic() - self.timed[1])
            self.timed = None
        gone = min(minus(ack, self.out_from), len(self.outgoing))
        del self.outgoing[:gone]
        self.out_from = plus(self.out_from, gone)
        self.snd_una = ack
        if minus(ack, self.snd_nxt) > 0:
            self.snd_nxt = ack
        self.tries = 0
        self.timers.pop("retransmit", None)
        self.timers.pop("persist", None)
        if self.in_flight():
            self.timers["retransmit"] = time.monotonic() + self.rto
        self.grow(count)

    def grow(self, count):
        """Slow start, congestion avoidance, and the way out of a recovery (RFCs 5681 and 6582)."""
        if self.recover is not None and minus(self.snd_una, self.recover) < 0:
            self.retransmit_first()
            self.cwnd = max(self.cwnd - count + self.mss, self.mss)
            return
        if self.recover is not None:
            self.cwnd, self.recover = min(self.ssthresh, max(self.in_flight(), self.mss) + self.mss), None
        elif self.cwnd < self.ssthresh:
            self.cwnd += min(count, self.mss)
        else:
            self.cwnd += max(self.mss * self.mss // self.cwnd, 1)
        self.again = 0

    def acked_again(self):
        """A duplicate acknowledgement: the third says that a segment is lost (RFC 5681 section 3.2)."""
        self.again += 1
        if faults.on("no fast retransmit"):
            return
        if self.again == (1 if faults.on("fast retransmit at the first duplicate") else 3) and self.recover is None:
            self.ssthresh = max(self.in_flight() // 2, 2 * self.mss)
            self.cwnd = self.ssthresh + 3 * self.mss
            self.recover = self.snd_max
            self.retransmit_first()
        elif self.again > 3 and self.recover is not None:
            self.cwnd += self.mss

    def measured(self, sample):
        """RFC 6298 section 2; after a retransmission there is no sample (Karn's algorithm)."""
        if self.srtt is None:
            self.srtt, self.rttvar = sample, sample / 2
        else:
            self.rttvar = 0.75 * self.rttvar + 0.25 * abs(self.srtt - sample)
            self.srtt = 0.875 * self.srtt + 0.125 * sample
        self.rto = min(max(self.srtt + 4 * self.rttvar, MIN_RTO), MAX_RTO)

    def fin_is_acked(self):
        return self.fin is not None and minus(self.snd_una, self.fin) > 0

    def path_is_narrow(self, seq, mtu):
        """Believed of what is in flight only (RFC 5927 section 7)."""
        in_flight = 0 <= minus(seq, self.snd_una) < self.in_flight()
        if self.state != "SYN-RECEIVED" and in_flight and 68 <= mtu < self.mss + 40:
            self.mss = max(mtu - 40, 28)
            self.cwnd = max(self.cwnd, self.mss)
            self.snd_nxt, self.timed = self.snd_una, None
            self.push()

    # What happens when nothing is heard

    def retransmit_first(self):
        """Sends the first segment that is not acknowledged once more."""
        self.timed = None
        size = min(self.mss, minus(self.end_of_data(), self.snd_una))
        data = self.bytes_at(self.snd_una, max(size, 0))
        if faults.on("other bytes are sent again"):
            data = bytes(len(data))
        fin = self.fin is not None and plus(self.snd_una, len(data)) == self.fin and not faults.on("a FIN is not sent again")
        self.emit(self.snd_una, data, fin)

    def on_retransmit(self):
        """The retransmission timer has run out (RFC 6298 section 5, RFC 5681 section 3.1)."""
        self.tries += 1
        if self.tries > TRIES or faults.on("nothing is sent again"):
            self.end()
            return
        if not faults.on("the RTO does not double"):
            self.rto = min(self.rto * 2, MAX_RTO)
        if self.state == "SYN-RECEIVED":
            self.send_syn()
            return
        self.again, self.recover = 0, None
        if self.tries == 1:
            self.ssthresh = max(self.in_flight() // 2, 2 * self.mss)
        self.retransmit_first()
        if not faults.on("a timeout does not slow down"):
            self.cwnd = self.mss
        self.snd_nxt = plus(self.snd_una, min(self.mss, self.in_flight()))

    def on_persist(self):
        """The window has been shut, or too small, for a while: asks with a byte whether it still is (section 3.8.6.1)."""
        self.tries += 1
        wait = self.rto if faults.on("window probes do not back off") else min(self.rto * 2 ** self.tries, MAX_RTO)
        if faults.on("window probes give up") and self.tries > 2:
            self.abort()
            return
        self.timers["persist"] = time.monotonic() + wait
        size = min(max(self.snd_wnd, 1), self.mss, minus(self.end_of_data(), self.snd_una))
        self.timed = None
        fin = self.is_closing and minus(self.end_of_data(), self.snd_una) == size
        self.emit(self.snd_una, self.bytes_at(self.snd_una, size), fin)
        self.snd_nxt = self.snd_max

    def tick(self, now):
        handlers = {"retransmit": self.on_retransmit, "persist": self.on_persist, "ack": self.send_ack, "accept": self.serve,
                    "time wait": self.end}
        for name, at in sorted(self.timers.items(), key=lambda timer: timer[1]):
            if now >= at and self.timers.get(name) == at:
                del self.timers[name]
                handlers[name]()

    def deadline(self):
        return min(self.timers.values(), default=float("inf"))
