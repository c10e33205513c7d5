"""UDP in miniature (RFC 768, RFC 1122 section 4.1): a header, a checksum, and three services."""

from scapy.layers.inet import UDP
from scapy.packet import Raw

from broken import faults
from broken.checksum import transport_checksum
from broken.icmp import PORT, UNREACHABLE
from broken.ip import is_for_many
from broken.services import lines
from suite.setting import CHARGEN, DISCARD, ECHO


class Udp:
    """The layer: what comes to an open port is answered by a function of its data, or not at all."""

    def __init__(self, ip, icmp):
        self.ip, self.icmp = ip, icmp
        pattern = lines()
        self.services = {ECHO: lambda data: data, DISCARD: lambda data: None, CHARGEN: lambda data: next(pattern)}
        ip.above[17] = self.receive

    def receive(self, datagram):
        if len(datagram.payload) < 8:
            return
        header = UDP(datagram.payload[:8])
        if not 8 <= header.len <= len(datagram.payload):
            return
        data = datagram.payload[:header.len]
        if faults.on("UDP takes all that IP has"):
            data = datagram.payload
        if header.chksum == 0 and faults.on("UDP insists on a checksum"):
            return
        # 0 is what a sender says that has not made one.
        is_wrong = header.chksum != 0 and transport_checksum(datagram, data) != 0
        if is_wrong and not faults.on("the UDP checksum is not verified"):
            return
        service = self.services.get(header.dport)
        if service is None:
            if not faults.on("closed UDP ports are silent"):
                self.icmp.error(datagram, UNREACHABLE, PORT)
            return
        reply = service(data[8:])
        if reply is not None and not is_for_many(datagram.dst):
            layer = UDP(sport=header.dport, dport=header.sport)
            if faults.on("UDP answers have a wrong checksum"):
                layer.chksum = 0x1234
            self.ip.send(datagram.src, layer / Raw(reply))
