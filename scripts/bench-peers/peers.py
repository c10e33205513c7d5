"""Who is measured, and at what. To add a stack, add a line to PEERS and a function to `build`."""

import dataclasses

# What stands between who serves and the client: see desk.py.
TUN, VETH = "tun", "veth"

# Memory is hardly ever another the next time.
MEMORY_ROUNDS = 3

BULK = ("up1", "up8", "down1", "down8")


@dataclasses.dataclass(frozen=True)
class Peer:
    """A program that is 10.9.0.2, with TCP 7 echo, 9 discard, 19 source, and UDP 7 echo."""

    what: str
    command: tuple  # `{tun}` is the device, `{sockets}` how many have to be there before connections come
    over: str = TUN
    idle: tuple = ()  # in place of the command where it is about idle connections
    beforehand: bool = False  # their memory is there before they are: all of it counts, not what is added
    cannot: dict = dataclasses.field(default_factory=dict)  # workload: why

    def words(self, workload, idle):
        words = self.idle if workload == "idle" and self.idle else self.command
        # A few more than there will be connections: the client's first ones may not be gone yet.
        return [word.format(tun="tun0", sockets=idle + 50) for word in words]

    def program(self):
        return self.command[0]


@dataclasses.dataclass(frozen=True)
class Workload:
    """What the client does."""

    title: str
    verb: str
    count: int
    unit: str

    def words(self, seconds, idle):
        if self.verb == "idle":
            return ["idle", str(idle), "0"]
        return [self.verb, str(self.count), str(seconds)]

    def is_of_memory(self):
        """Less is better, whatever else is at work; and what a server has it may keep, so that each measurement has one of its own."""
        return self.unit == BYTES

    def rounds(self, wanted):
        return min(wanted, MEMORY_ROUNDS) if self.is_of_memory() else wanted


GBITS, OPERATIONS, BYTES = "Gbit/s", "1/s", "B"
WORKLOADS = {
    "up1": Workload("up 1", "up", 1, GBITS),
    "up8": Workload("up 8", "up", 8, GBITS),
    "down1": Workload("down 1", "down", 1, GBITS),
    "down8": Workload("down 8", "down", 8, GBITS),
    "rr1": Workload("RR 1", "rr", 1, OPERATIONS),
    "rr64": Workload("RR 64", "rr", 64, OPERATIONS),
    "crr1": Workload("CRR 1", "crr", 1, OPERATIONS),
    "crr16": Workload("CRR 16", "crr", 16, OPERATIONS),
    "udp1": Workload("UDP 1", "udp", 1, OPERATIONS),
    "udp64": Workload("UDP 64", "udp", 64, OPERATIONS),
    "idle": Workload("idle", "idle", 10000, BYTES),
}

NULL_IDLE = {"idle": "keeps a table for every port there is"}
# The names that stand for the daemon, wherever it was built: as cargo does, and by scripts/build-profiled.
TUNSTACK, PROFILED = "tunstack", "tunstack-profiled"
UP_ARGS = ("up", "--tun", "{tun}", "--addr", "10.9.0.2/24", "--host-addr", "none", "--serve", "echo:7,discard:9,chargen:19")
UP = (TUNSTACK, *UP_ARGS)


def smoltcp(device):
    """Sockets a port, octets a buffer. A socket of its own waits for each connection, and owns its buffers."""
    return {
        "command": ("smoltcp-peer", "{tun}", "80", str(4 << 20), device),
        "idle": ("smoltcp-peer", "{tun}", "{sockets}", "4096", device),
        "beforehand": True,
    }


PEERS = {
    "tunstack": Peer("our daemon with default settings", UP),
    "tunstack-profiled": Peer("our daemon as scripts/build-profiled builds it", (PROFILED, *UP_ARGS)),
    "tunstack-plain": Peer("our daemon, `--offload off`", (*UP, "--offload", "off")),
    "tunstack-busy": Peer("our daemon, `--busy-poll 50`", (*UP, "--busy-poll", "50")),
    "tunstack-sleeps": Peer("our daemon, `--busy-poll 0`", (*UP, "--busy-poll", "0")),
    "kernel": Peer("the kernel, over veth instead of a TUN", ("kserver",), over=VETH, cannot={"idle": "its memory is no process's"}),
    "gvisor-offload": Peer("gVisor's netstack, VNET_HDR and TSO", ("gvisor-peer", "-tun", "{tun}", "-link", "vnet")),
    "gvisor": Peer("gVisor's netstack, its own link endpoint", ("gvisor-peer", "-tun", "{tun}", "-link", "fdbased")),
    "smoltcp": Peer("smoltcp with its own device", **smoltcp("stock")),
    "smoltcp-reuse": Peer("smoltcp, a device that reuses its buffers", **smoltcp("reuse")),
    "lwip": Peer("lwIP, raw interface", ("lwip-peer", "{tun}")),
    "lwip-offload": Peer("the same on a device with offloads", ("lwip-peer", "{tun}", "-o"),
                         cannot=dict.fromkeys(BULK, "knows no super-segments")),
    "ipstack": Peer("ipstack, on tokio", ("ipstack-peer", "{tun}")),
    "null": Peer("no stack: acknowledges and copies nothing", ("nullstack", "{tun}"), cannot=NULL_IDLE),
    "null-copy": Peer("the same with one copy of the payload", ("nullstack", "{tun}", "-c"), cannot=NULL_IDLE),
    "null-plain": Peer("the same without offload", ("nullstack", "{tun}", "-p"),
                       cannot=NULL_IDLE | dict.fromkeys(BULK, "can't mend a loss")),
}
OURS = ("tunstack", "tunstack-profiled", "tunstack-plain", "tunstack-busy", "tunstack-sleeps")
RIVALS = ("gvisor-offload", "lwip", "smoltcp-reuse", "null", "null-copy")
