"""What a case says and hears below TCP: datagrams of any kind, and the answers to them.

Owns what has come and not been asked for yet. `Net.expect` and `Net.expect_nothing` are the whole vocabulary; what
a connection adds to them stands in `tcp`.
"""

import itertools
import random
import time

import pytest
from scapy.layers.inet import IP, ICMP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from .errors import error_in, is_summed, transport
from .failure import Mismatch
from .fragments import Parts, is_part
from .setting import ECHO, FAR_ADDRESS, IPV4, NETWORK, SILENCE, TARGET_ADDRESS, TESTER_ADDRESS, WITHIN
from .tcp import Tcp


class Net:
    """A live target and a tester that can send it whatever it likes."""

    def __init__(self, wire, target, family, seed):
        self.wire, self.stack, self.family = wire, target, family
        self.target, self.tester = TARGET_ADDRESS[family], TESTER_ADDRESS[family]
        self.far = FAR_ADDRESS[family]
        self.network = NETWORK[family]
        self.random = random.Random(seed)
        self.ports = itertools.count(self.random.randrange(20_000, 50_000))
        self.inbox = []

    def ip(self, src=None, dst=None, **fields):
        """An IP header of this case's family, from the tester to the target if nothing else is said.

        `ttl` and `tos` mean IPv6's hop limit and traffic class, too.
        """
        src, dst = src or self.tester, dst or self.target
        if self.family == IPV4:
            fields.setdefault("id", self.random.randrange(1, 1 << 16))
            return IP(src=src, dst=dst, **fields)
        for v4, v6 in (("ttl", "hlim"), ("tos", "tc")):
            if v4 in fields:
                fields[v6] = fields.pop(v4)
        return IPv6(src=src, dst=dst, **fields)

    def host(self, number):
        """The address of another host on the target's link: 100 and more for the v4 family."""
        return str(self.network.network_address + 100 + number)

    def udp(self, data=b"", dport=ECHO, sport=None, ip=None, **fields):
        """A UDP datagram; `ip` are fields of its IP header."""
        sport = next(self.ports) if sport is None else sport
        return self.ip(**(ip or {})) / UDP(sport=sport, dport=dport, **fields) / Raw(data)

    def echo_request(self, data=b"abcdefgh", id=None, seq=1, ip=None, **fields):
        """A ping; `ip` are fields of its IP header. Not applicable where the target answers none."""
        self.needs("ICMP echo")
        id = next(self.ports) if id is None else id
        if self.family == IPV4:
            return self.ip(**(ip or {})) / ICMP(type=8, id=id, seq=seq, **fields) / Raw(data)
        return self.ip(**(ip or {})) / ICMPv6EchoRequest(id=id, seq=seq, data=data, **fields)

    def send(self, *packets):
        """Puts packets on the wire as they are: scapy's or bytes."""
        for packet in packets:
            self.wire.send(packet)

    def expect(self, layer=None, within=WITHIN, where=None, **fields):
        """The next packet with such a layer whose fields are these: values, or functions that judge them.

        Other packets that come before it stay, for whoever asks for them. Fails if there is none in time.
        """
        until = time.monotonic() + within
        seen = self.take(lambda seen: has(seen.packet, layer, fields, where), until)
        if seen is None:
            wanted = describe_wanted(layer, fields)
            raise Mismatch(self, f"no {wanted} within {within} s", wanted=(layer, fields))
        return seen.packet

    def expect_nothing(self, layer=None, for_=SILENCE, where=None, **fields):
        """Fails if such a packet comes in time, or has come and not been asked for. Multicast is not counted."""
        until = time.monotonic() + for_
        unwanted = lambda seen: has(seen.packet, layer, fields, where) and not is_to_many(seen.packet)
        seen = self.take(unwanted, until)
        if seen is not None:
            raise Mismatch(self, f"the target sent what it must not: {describe_wanted(layer, fields)}: {seen}")

    def expect_whole(self, where, within=WITHIN):
        """The next datagram that is wanted, put together if it comes in parts."""
        until, parts = time.monotonic() + within, Parts()
        while (seen := self.take(lambda seen: is_part(seen.packet) or where(seen.packet), until)) is not None:
            packet = parts.add(seen.packet) if is_part(seen.packet) else seen.packet
            if packet is not None and where(packet):
                return packet
        raise Mismatch(self, f"what was wanted did not come within {within} s")

    def expect_reply(self, request, data=None, within=WITHIN):
        """The reply to a ping: from the target's address, with all of its data (or `data`), the checksum right."""
        if data is None:
            data = bytes(request[ICMP].payload) if ICMP in request else request[ICMPv6EchoRequest].data
        reply = self.expect_whole(lambda packet: is_reply(packet, request), within)
        problems = {"its source": reply.src == self.target, "its destination": reply.dst == request.src,
                    "its data": transport(reply)[8:] == data, "its checksum": is_summed(reply)}
        if wrong := [name for name, is_right in problems.items() if not is_right]:
            raise Mismatch(self, f"the reply to the ping is wrong: {', '.join(wrong)}")
        return reply

    def expect_error(self, kinds, about, pointer=None, within=WITHIN):
        """An ICMP error about a packet of the tester's, which it quotes; see `errors` for the kinds.

        `pointer` is which octet a parameter problem has to name, or a range of them.
        """
        kind, code = kinds[self.family]
        octets = (pointer,) if isinstance(pointer, int) else pointer

        def wanted(packet):
            error = error_in(packet)
            return error is not None and (error.kind, error.code) == (kind, code) and error.is_about(about) \
                and (octets is None or error.pointer in octets)

        text = f"ICMP error of type {kind} code {code}" + ("" if pointer is None else f" at octet {pointer}")
        seen = self.take(lambda seen: wanted(seen.packet), time.monotonic() + within)
        if seen is None:
            came = [error for seen in self.inbox if (error := error_in(seen.packet)) is not None]
            closest = [f"    type {error.kind} code {error.code}, octet {error.pointer}, quotes "
                       + ("what was sent" if error.is_about(about) else "something else") for error in came]
            raise Mismatch(self, f"no {text} within {within} s", closest=closest or ["    no ICMP error came at all"])
        assert is_summed(seen.packet), f"the checksum of an {text} is wrong"
        return error_in(seen.packet)

    def expect_no_error(self, for_=SILENCE):
        """Fails if an ICMP error comes."""
        self.expect_nothing(for_=for_, where=lambda packet: error_in(packet) is not None)

    def ping(self, data=b"abcdefgh", **how):
        """A ping that has to be answered; gives the reply."""
        request = self.echo_request(data, **how)
        self.send(request)
        return self.expect_reply(request)

    def take(self, wanted, until):
        """The first packet from the target that is wanted; `None` if there is none before `until`."""
        for index, seen in enumerate(self.inbox):
            if wanted(seen):
                return self.inbox.pop(index)
        while (seen := self.wire.receive(until)) is not None:
            if wanted(seen):
                return seen
            self.inbox.append(seen)
        return None

    def forget(self):
        """What has come so far is of no interest."""
        self.wire.rest()
        self.inbox.clear()

    def tcp(self, port=ECHO, **how):
        """A connection to be: nothing is sent yet. See `Tcp`."""
        return Tcp(self, port, **how)

    def connect(self, port=ECHO, **how):
        """An established connection to a service of the target. See `Tcp.connect` for what can be said."""
        names = ("src", "sport", "iss")
        return self.tcp(port, **{name: how.pop(name) for name in names if name in how}).connect(**how)

    def open_by_target(self, port=None):
        """Makes the target connect to a port of the tester; gives the connection, of which nothing has come yet."""
        port = next(self.ports) if port is None else port
        connection = Tcp(self, None, sport=port)
        self.stack.connect_out(self.tester, port)
        return connection

    def is_alive(self):
        """Fails if the target does not answer a ping any more."""
        request = self.echo_request(b"are you there?")
        self.send(request)
        self.expect(where=lambda packet: is_reply(packet, request), within=2 * WITHIN)

    def needs(self, *what):
        """Ends the case as not applicable if the target lacks one of these."""
        for one in what:
            if one in self.stack.lacks:
                pytest.skip(f"the target has no {one}")


def is_reply(packet, request):
    """Whether a packet answers a ping."""
    for kind, reply in ((ICMP, 0), (ICMPv6EchoRequest, 129)):
        if kind in request:
            found = packet.getlayer(ICMP) or packet.getlayer("ICMPv6EchoReply")
            return found is not None and found.type == reply and found.id == request[kind].id \
                and found.seq == request[kind].seq
    return False


def has(packet, layer, fields, where):
    """Whether a packet has a layer with these fields. In an ICMP error, what it quotes is none of its layers."""
    found = packet if layer is None else packet.getlayer(layer)
    if found is None:
        return False
    for name, wanted in fields.items():
        value = found.getfieldval(name)
        if not (wanted(value) if callable(wanted) else value == wanted):
            return False
    return where is None or bool(where(packet))


def is_to_many(packet):
    """Whether a packet goes to a group, as reports of group membership do."""
    return packet.haslayer(IPv6) and packet[IPv6].dst.startswith("ff")


def describe_wanted(layer, fields):
    name = "packet" if layer is None else layer.__name__
    told = ", ".join(f"{key}={'...' if callable(value) else value!r}" for key, value in fields.items())
    return f"{name}({told})" if told else name

