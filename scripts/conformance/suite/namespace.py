"""A network namespace of one's own, and a TUN device in it.

Owns what the kernel has to be told before a stack can be tested: nothing of it touches the namespace that the
suite was started in.
"""

import ctypes
import fcntl
import os
import struct
import subprocess

from .setting import MTU

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000

# More than any case sends at once: the kernel's default would drop the end of a full window of small segments.
QUEUE = 5000


def enter_new_namespace():
    """Moves this thread, and what it starts from now on, into a new network namespace with nothing but `lo`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace can be made: {os.strerror(number)}")


def make_tun(name, addresses=()):
    """Makes a TUN device that is up; `addresses` are the kernel's, with their prefix lengths."""
    # Nothing but what the stack and the tester send is to be on the wire: no router solicitations, no groups.
    sysctl("net/ipv6/conf/default/accept_dad", 0)
    sysctl("net/ipv6/conf/default/router_solicitations", 0)
    sysctl("net/ipv6/conf/default/accept_ra", 0)
    lines = [f"tuntap add dev {name} mode tun", f"link set {name} addrgenmode none",
             f"link set {name} mtu {MTU} txqueuelen {QUEUE} up"]
    for address in addresses:
        lines.append(f"addr add {address} dev {name}" + (" nodad" if ":" in address else ""))
    ip_batch(lines)


def ip_batch(lines):
    """Runs lines of `ip -batch`."""
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"ip: {done.stderr.strip()}\n" + "\n".join(lines))


def sysctl(path, value):
    """Sets a sysctl of this namespace."""
    with open(f"/proc/sys/{path}", "w") as file:
        file.write(str(value))


def attach(name):
    """The descriptor by which a program is what is behind the TUN device."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor
