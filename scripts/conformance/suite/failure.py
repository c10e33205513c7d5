"""What a failed case shows: what was on the wire, what was wanted, and what came closest, field by field."""

from scapy.layers.inet import TCP

from .wire import TESTER


class Mismatch(AssertionError):
    """The target did what it must not, or did not what it must."""

    def __init__(self, net, text, wanted=None, closest=None):
        net.wire.rest()
        lines = [text, *timeline(net)]
        if closest:
            lines += ["", "closest:", *closest]
        elif wanted is not None:
            lines += difference(net, *wanted)
        super().__init__("\n".join(lines))


def timeline(net):
    """A line for each packet since the case began."""
    history = net.wire.history
    if not history:
        return ["    (nothing was on the wire)"]
    lines = []
    for seen in history[-60:]:
        arrow = "tester >" if seen.sender == TESTER else "      < target"
        lines.append(f"    {seen.at - history[0].at:9.6f}  {arrow:14}  {summary(net, seen.packet)}")
    if len(history) > 60:
        lines.insert(0, f"    ... {len(history) - 60} packets before these")
    return lines


def summary(net, packet):
    """Packets as people read them: TCP with numbers relative to the connection's."""
    if TCP in packet and packet.lastlayer(packet[TCP]) is not None:
        for connection in getattr(net, "connections", ()):
            text = connection.describe(packet)
            if text:
                return text
    return packet.summary()


def difference(net, layer, fields):
    """How the packet of that kind that agrees in most fields differs from what was wanted."""
    if layer is None:
        return []
    candidates = [seen.packet.getlayer(layer) for seen in net.inbox if seen.packet.haslayer(layer)]
    if not candidates:
        return [f"    no {layer.__name__} came at all"]

    def wrong(found):
        judged = {name: found.getfieldval(name) for name in fields}
        return {name: value for name, value in judged.items()
                if not (fields[name](value) if callable(fields[name]) else fields[name] == value)}

    best = min(candidates, key=lambda found: len(wrong(found)))
    lines = ["", "closest:"]
    for name, value in wrong(best).items():
        lines.append(f"    {name}: {value!r}, wanted {'something else' if callable(fields[name]) else repr(fields[name])}")
    return lines
