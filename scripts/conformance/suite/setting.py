"""Where a case takes place: addresses, ports and how long anything may take."""

import ipaddress

IPV4, IPV6 = "ipv4", "ipv6"
TARGET_ADDRESS = {IPV4: "10.9.0.2", IPV6: "fd09::2"}
NETWORK = {IPV4: ipaddress.ip_network("10.9.0.0/24"), IPV6: ipaddress.ip_network("fd09::/64")}
# Nobody's but the tester's: the kernel has none of them, so its own stack never answers for the tester.
TESTER_ADDRESS = {IPV4: "10.9.0.77", IPV6: "fd09::77"}
# Beyond the target's link, whose default route leads to the tester.
FAR_ADDRESS = {IPV4: "192.0.2.77", IPV6: "2001:db8::77"}

DEVICE = "tun0"
MTU = 1500

ECHO, DISCARD, DAYTIME, CHARGEN = 7, 9, 13, 19
CLOSED = 4  # the target has no service there

WITHIN = 1.0  # seconds; a stack answers in less than a hundredth of it, a busy machine takes its time
SILENCE = 0.4
