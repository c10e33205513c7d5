"""The stacks that are judged, and how each is started in a namespace of its own.

All that a target has to be is a program that attaches to a TUN device and is 10.9.0.2 there, with echo on port 7, discard
on 9 and chargen on 19, TCP and UDP. What else it may have (IPv6 as fd09::2, daytime on 13) is said by what it lacks.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

from .namespace import attach, enter_new_namespace, ip_batch, make_tun, sysctl
from .setting import DEVICE, ECHO, IPV4, IPV6, TARGET_ADDRESS
from .wire import Wire

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
READY_WITHIN = 10.0
PROBER, PROBER_V6 = "10.9.0.250", "fd09::250"


class Target:
    """A stack under judgement. `start` gives the wire to it, `stop` ends it."""

    def __init__(self, name, lacks=()):
        self.name, self.lacks = name, frozenset(lacks)
        self.processes = []

    def start(self):
        """Starts the target in a new namespace, which this thread is in from then on."""
        enter_new_namespace()
        self.errors = tempfile.TemporaryFile()
        return self.launch()

    def run(self, command, **how):
        environment = dict(os.environ, TUN=DEVICE, ADDR4=TARGET_ADDRESS[IPV4], ADDR6=TARGET_ADDRESS[IPV6])
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                   env=environment, start_new_session=True, **how)
        self.processes.append(process)
        return process

    def stop(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            process.stdin.close()
            process.stdout.close()
        self.processes.clear()
        self.errors.close()

    def complaint(self):
        """What is amiss with the target's program, and what it has said on standard error: shown if a case fails."""
        lines = [f"{process.args[0]} has ended with status {process.returncode}"
                 for process in self.processes if process.poll() is not None]
        self.errors.seek(0)
        return "\n".join(lines + [self.errors.read()[-4000:].decode(errors="replace")]).strip()

    def connect_out(self, address, port):
        """Makes the target connect to an address."""
        raise NotImplementedError


class Linux(Target):
    """The kernel of this machine: the control group."""

    def __init__(self):
        super().__init__("linux")

    def launch(self):
        for name in ("all", "default"):
            sysctl(f"net/ipv4/conf/{name}/rp_filter", 0)
        # What cases are written for, whatever the machine has set.
        sysctl("net/ipv4/tcp_syncookies", 0)
        make_tun(DEVICE, [f"{TARGET_ADDRESS[IPV4]}/24", f"{TARGET_ADDRESS[IPV6]}/64"])
        ip_batch(["link set lo up", f"route add default dev {DEVICE}", f"route add ::/0 dev {DEVICE}"])
        wire = Wire(DEVICE, attach(DEVICE))
        services = self.run([sys.executable, "-S", "-E", "-B", str(HERE / "services.py")])
        if services.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the services did not start: {self.complaint()}")
        await_carrier(wire)
        return wire

    def connect_out(self, address, port):
        self.run([sys.executable, "-S", "-E", "-B", str(HERE / "connector.py"), address, str(port)])


def await_carrier(wire):
    """Waits until the kernel answers pings over both families: it sees late, on a busy machine, that there is a carrier."""
    end = time.monotonic() + READY_WITHIN
    for request, reply in ((IP(src=PROBER, dst=TARGET_ADDRESS[IPV4]) / ICMP(), ICMP),
                           (IPv6(src=PROBER_V6, dst=TARGET_ADDRESS[IPV6]) / ICMPv6EchoRequest(), ICMPv6EchoReply)):
        answered = False
        while not answered:
            if time.monotonic() > end:
                raise RuntimeError("the kernel does not answer pings")
            wire.send(request)
            seen = wire.receive(time.monotonic() + 0.02)
            answered = seen is not None and seen.packet.haslayer(reply)
    time.sleep(0.02)
    wire.rest()
    wire.history.clear()


class Command(Target):
    """A program that attaches to the TUN device that `{tun}` names in its command line (or $TUN)."""

    def __init__(self, name, command, lacks=(), connect=None):
        super().__init__(name, set(lacks) | (set() if connect else {"connect"}))
        self.command, self.connect = command, connect

    def launch(self):
        make_tun(DEVICE)
        # The kernel's end of the wire is the tester's: it is to say nothing of its own.
        sysctl(f"net/ipv6/conf/{DEVICE}/disable_ipv6", 1)
        wire = Wire(DEVICE)
        self.run(filled(self.command))
        self.await_ready(wire)
        return wire

    def await_ready(self, wire):
        """Waits until the echo service answers a SYN, from an address that no case uses."""
        end, port = time.monotonic() + READY_WITHIN, 1024
        while time.monotonic() < end and self.processes[0].poll() is None:
            port += 1
            header = IP(src=PROBER, dst=TARGET_ADDRESS[IPV4])
            wire.send(header / TCP(sport=port, dport=ECHO, flags="S", seq=1))
            seen = wire.receive(time.monotonic() + 0.02)
            if seen is not None and seen.packet.haslayer(TCP) and seen.packet[TCP].flags == "SA":
                answer = seen.packet[TCP]
                wire.send(header / TCP(sport=answer.dport, dport=ECHO, flags="R", seq=answer.ack))
                time.sleep(0.02)
                wire.rest()
                wire.history.clear()
                return
        raise RuntimeError(f"{self.name} does not answer: {self.complaint()}")

    def connect_out(self, address, port):
        # The one that serves goes first: there is one device.
        self.processes[0].kill()
        self.processes[0].wait()
        client = self.run(filled(self.connect, address=address, port=port))
        threading.Thread(target=relay, args=(client.stdout, client.stdin), daemon=True).start()


def relay(source, sink):
    """Gives a program what it prints as its input: what connects becomes an echo client."""
    try:
        while data := source.read1(1 << 16):
            sink.write(data)
            sink.flush()
        sink.close()
    except (OSError, ValueError):
        pass  # the program has ended


def filled(command, **more):
    """A command line with its placeholders filled in."""
    places = dict(tun=DEVICE, v4=TARGET_ADDRESS[IPV4], v6=TARGET_ADDRESS[IPV6], **more)
    return [word.format(**places) for word in shlex.split(command)]


def tunstack(name="tunstack", offload="off"):
    """tunstack as it has been built, or as TUNSTACK_BIN says, with the kernel's offloads or without."""
    names = [ROOT / "target/release/tunstack", ROOT / "target/debug/tunstack"]
    there = [name for name in names if name.exists()]
    binary = os.environ.get("TUNSTACK_BIN") or (max(there, key=lambda name: name.stat().st_mtime) if there else None)
    if binary is None:
        raise LookupError("tunstack is not built: cargo build")
    device = "--tun {tun} --addr {v4}/24 --addr {v6}/64 --host-addr none"
    return Command(name, f"{binary} up {device} --offload {offload} --serve echo:{ECHO},discard:9,daytime:13,chargen:19",
                   connect=f"{binary} connect {device} {{address}} {{port}}")


def peers():
    """Other stacks, as far as scripts/bench-peers/build has built them."""
    folder = Path(os.environ.get("BENCH_PEERS_DIR") or ROOT / "target/bench-peers") / "bin"
    lacks = {"IPv6", "daytime", "udp discard", "udp chargen"}
    commands = {"gvisor": "gvisor-peer -tun {tun} -link fdbased", "smoltcp": "smoltcp-peer {tun} 80 4194304 stock",
                "lwip": "lwip-peer {tun}"}
    # Left out where it was built, not missing in the stack.
    also = {"smoltcp": {"ICMP echo"}}
    return [Command(name, f"{folder}/{command}", lacks | also.get(name, set())) for name, command in commands.items()
            if (folder / command.split()[0]).exists()]


def named(name):
    """The target of a name, or of a command line."""
    if name == "tunstack":
        return tunstack()
    if name == "tunstack-offload":
        return tunstack(name, "on")
    if name == "linux":
        return Linux()
    for peer in peers():
        if peer.name == name:
            return peer
    if not name.strip() or len(shlex.split(name)) == 1 and "/" not in name:
        raise LookupError(f"there is no target {name!r}: tunstack, tunstack-offload, linux, all, broken, a command line, or (built by "
                          f"scripts/bench-peers/build) gvisor, smoltcp, lwip")
    lacks = filter(None, os.environ.get("LACKS", "").split(","))
    return Command(Path(shlex.split(name)[0]).name, name, lacks)
