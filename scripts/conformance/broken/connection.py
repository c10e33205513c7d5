"""A TCP connection in miniature: what comes, judged in the order of RFC 9293 section 3.10.7.4.

Numbers have the RFC's names, in small letters: `snd_una`, `rcv_nxt`, ... What goes out is `sender`'s.
"""

import time

from broken import faults
from broken.segment import minus, plus
from broken.sender import OUR_MSS, Sender

CAPACITY = 65535  # bytes that may wait for the service
ACCEPT = 0.01  # seconds until a service has woken up for a new connection
DELAY = 0.1  # seconds that an acknowledgement may wait
TIME_WAIT = 60.0
CHALLENGES_PER_SECOND = 20


class Connection(Sender):
    """A connection that a SYN has begun."""

    def __init__(self, layer, syn, iss, service):
        super().__init__(layer, syn, iss)
        self.service, self.state = service, "SYN-RECEIVED"
        self.rcv_nxt = plus(syn.seq, 1)
        self.irs = syn.seq
        self.incoming, self.later, self.peer_is_done = bytearray(), {}, False
        self.snd_wl1, self.snd_wl2 = syn.seq, iss
        self.owed = 0  # segments with data that are not acknowledged yet
        self.challenges = []
        self.rcv_right = plus(self.rcv_nxt, CAPACITY)
        self.send_syn()

    def is_reopened_by(self, segment):
        """Whether a SYN begins a new connection where this one waits for its end (RFC 9293 section 3.6.1)."""
        return (self.state == "TIME-WAIT" and segment.flags & set("SAR") == {"S"}
                and minus(segment.seq, self.rcv_nxt) > 0)

    def receive(self, segment):
        """One segment after the other, check after check; what fails one goes no further."""
        if self.state == "SYN-RECEIVED" and segment.flags & set("SA") == {"S"} and segment.seq == self.irs:
            self.send_syn()
        elif (self.is_in_window(segment) and self.is_no_reset(segment) and self.is_no_syn(segment)
              and self.is_good_ack(segment)):
            self.take(segment)
            if "accept" not in self.timers:
                self.serve()

    def serve(self):
        """Lets the service do what it can, and sends what has come of it."""
        self.service.run(self)
        self.push()
        self.acknowledge()

    # First: the sequence number

    def is_in_window(self, segment):
        window = self.room()
        start, length = minus(segment.seq, self.rcv_nxt), segment.length()
        at_edge = start == 0 and window == 0  # neither its data nor its FIN is taken, but all else
        if length == 0:
            fits = at_edge or 0 <= start < window
        else:
            fits = at_edge or 0 <= start < window or 0 <= start + length - 1 < window
        if not fits and "R" not in segment.flags and not faults.on("what is out of the window is ignored"):
            self.challenge() if "S" in segment.flags else self.send_ack()
            if self.state == "TIME-WAIT":
                self.timers["time wait"] = time.monotonic() + TIME_WAIT
        return fits or (faults.on("resets need not be in the window") and "R" in segment.flags)

    def room(self):
        """The receive window as the peer knows it."""
        return 1 << 30 if faults.on("the right edge is not checked") else minus(self.rcv_right, self.rcv_nxt)

    # Second and fourth: RST and SYN (RFC 5961 sections 3 and 4)

    def is_no_reset(self, segment):
        if "R" not in segment.flags:
            return True
        if faults.on("resets are ignored"):
            return False
        if segment.seq == self.rcv_nxt or faults.on("resets anywhere in the window count") \
                or faults.on("resets need not be in the window"):
            self.end()
        elif not faults.on("inexact resets are not challenged"):
            self.challenge()
        return False

    def is_no_syn(self, segment):
        if "S" not in segment.flags:
            return True
        if self.state == "SYN-RECEIVED":
            self.end()
        elif faults.on("a SYN ends a connection"):
            self.abort()
        elif not faults.on("a SYN is not challenged"):
            self.challenge()
        return False

    # Fifth: ACK

    def is_good_ack(self, segment):
        if "A" not in segment.flags:
            return faults.on("data without ACK is taken")
        if self.state == "SYN-RECEIVED":
            if not 0 < minus(segment.ack, self.snd_una) <= minus(self.snd_max, self.snd_una) \
                    and not faults.on("any ACK ends the handshake"):
                self.layer.send(self.key, "R", segment.ack, 0)
                return False
            self.state = "ESTABLISHED"
            self.snd_una = self.snd_nxt = plus(self.iss, 1)
            self.established()
            self.timers["accept"] = time.monotonic() + ACCEPT
        far = minus(segment.ack, self.snd_una)
        if far > minus(self.snd_max, self.snd_una) and not faults.on("ACKs of what was never sent are fine"):
            self.challenge()
            return False
        if far < -self.max_wnd and not faults.on("ACKs may be as old as they like"):
            self.challenge()
            return False
        had = self.snd_wnd
        if far >= 0:
            self.update_window(segment)
        if 0 < far <= minus(self.snd_max, self.snd_una):
            self.acked(segment.ack)
        elif far == 0 and segment.length() == 0 and self.snd_wnd == had > 0 and self.in_flight():
            self.acked_again()
        if self.fin_is_acked():
            self.our_fin_is_acked()
        return self.state != "CLOSED"

    def update_window(self, segment):
        """Only what is newer than what was last heard changes the window."""
        newer = minus(segment.seq, self.snd_wl1)
        if newer > 0 or (newer == 0 and minus(segment.ack, self.snd_wl2) >= 0):
            shift = 0 if faults.on("the window scale is not applied") else self.snd_shift
            self.set_window(segment.window << shift)
            self.snd_wl1, self.snd_wl2 = segment.seq, segment.ack

    def our_fin_is_acked(self):
        if self.state == "FIN-WAIT-1":
            self.state = "FIN-WAIT-2"
        elif self.state == "CLOSING":
            self.wait()
        elif self.state == "LAST-ACK":
            self.end()

    # Seventh and eighth: data and FIN

    def take(self, segment):
        """Puts what is new of it where it belongs, and says when that is to be acknowledged."""
        if segment.length() == 0:
            return
        start, had_gap = minus(segment.seq, self.rcv_nxt), bool(self.later)
        if start <= 0 or not faults.on("data out of order is lost"):
            self.keep(max(start, 0), *self.news(segment, start))
        taken = self.join()
        self.owed += 1
        if start > 0 or not taken or had_gap or self.peer_is_done or self.owed >= 2:
            at_once = not (start > 0 and faults.on("gaps draw no duplicate ACKs"))
        else:
            at_once = False
        if at_once and not faults.on("every ACK waits"):
            self.timers["ack"] = 0.0
        else:
            self.timers.setdefault("ack", time.monotonic() + (1.5 if faults.on("ACKs are late") else DELAY))

    def news(self, segment, start):
        """What of a segment is in the window and not there yet: its data, and whether its FIN is."""
        data, has_fin = segment.data, "F" in segment.flags
        if start < 0 and not faults.on("overlapping data is taken twice"):
            has_fin = has_fin and -start <= len(data)
            data = data[-start:]
        room = max(self.room() - max(start, 0), 0)
        if len(data) + has_fin > room:
            data, has_fin = data[:room], False
        if self.peer_is_done:
            return (data if faults.on("data behind a FIN is taken") else b""), False
        return data, has_fin

    def keep(self, start, data, has_fin):
        """Keeps data until what is before it has come: the longest there is from each place."""
        if faults.on("data out of order is taken as it comes"):
            self.rcv_nxt, start = plus(self.rcv_nxt, start), 0
        seq = plus(self.rcv_nxt, start)
        there, fin_there = self.later.get(seq, (b"", False))
        if len(data) + has_fin > len(there) + fin_there:
            self.later[seq] = (data, has_fin)

    def join(self):
        """Takes in all that is in order now; whether there was anything."""
        taken = False
        while ready := [seq for seq in self.later if minus(seq, self.rcv_nxt) <= 0]:
            data, has_fin = self.later.pop(ready[0])
            skip = -minus(ready[0], self.rcv_nxt)
            if skip > len(data) or (skip == len(data) and not has_fin):
                continue
            taken = True
            self.incoming += data[skip:]
            self.rcv_nxt = plus(self.rcv_nxt, len(data) - skip)
            if has_fin:
                self.later.clear()
                self.finished()
        return taken

    def finished(self):
        """The peer's FIN has come, and all that was before it."""
        if faults.on("a FIN is not acknowledged"):
            return
        self.rcv_nxt, self.peer_is_done = plus(self.rcv_nxt, 1), True
        if self.state == "ESTABLISHED":
            self.state = "CLOSE-WAIT"
        elif self.state == "FIN-WAIT-1":
            self.state = "CLOSING"
        elif self.state == "FIN-WAIT-2":
            self.wait()

    # What is told the peer of it

    def right_edge(self):
        """How far the peer may be let: never less than before, and by steps that are worth it (section 3.8.6.2.2)."""
        taken = len(self.incoming)
        if faults.on("the window shrinks") and taken > CAPACITY // 4:
            return self.rcv_nxt
        right = plus(self.rcv_nxt, CAPACITY - taken)
        if self.rcv_right == self.rcv_nxt and faults.on("the window opens by silly steps"):
            return plus(self.rcv_right, min(minus(right, self.rcv_right), 100))
        return right if minus(right, self.rcv_right) >= OUR_MSS else self.rcv_right

    def window(self):
        """The window to tell, which is a promise from then on."""
        self.rcv_right = self.right_edge()
        return minus(self.rcv_right, self.rcv_nxt)

    def acknowledge(self):
        """Sends the acknowledgement that is due, or the news that there is room again."""
        told, more = minus(self.rcv_right, self.rcv_nxt), minus(self.right_edge(), self.rcv_right)
        is_news = more >= CAPACITY // 2 or (more > 0 and told < OUR_MSS)
        if self.state != "CLOSED" and (self.timers.get("ack") == 0.0 or is_news):
            self.send_ack()

    def challenge(self):
        """An ACK to what may come from a stranger, but not without limit (RFC 5961 section 7)."""
        now = time.monotonic()
        self.challenges = [at for at in self.challenges if at > now - 1]
        if len(self.challenges) < CHALLENGES_PER_SECOND or faults.on("challenges without limit"):
            self.challenges.append(now)
            self.send_ack()

    def wait(self):
        if faults.on("no TIME-WAIT"):
            self.send_ack()
            self.end()
            return
        self.state = "TIME-WAIT"
        self.timers = {"time wait": time.monotonic() + TIME_WAIT}

    def end(self):
        self.state = "CLOSED"
        self.timers.clear()
        self.layer.forget(self)

    def abort(self):
        self.layer.send(self.key, "RA", self.snd_max, self.rcv_nxt)
        self.end()

    # What the service sees

    def read(self, length=CAPACITY):
        data = bytes(self.incoming[:length])
        del self.incoming[:length]
        return data

    def is_at_end(self):
        return self.peer_is_done and not self.incoming
