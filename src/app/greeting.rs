//! What `tunstack up` says once it can be reached: one line for scripts to wait for, then lines to try.

use std::net::IpAddr;

use ipnet::IpNet;

use super::network::Link;
use super::serve::{ServeList, ServiceKind};

/// A device as it came to be.
pub(super) struct Greeted<'a> {
    /// The name it has now.
    pub(super) name: &'a str,
    /// What it was to be.
    pub(super) link: &'a Link,
}

/// The ready line, then what to try.
///
/// The line is one whatever the number of devices: each by its name with its addresses behind it, then `forwarding` if
/// packets for others are sent on, then the services.
pub(super) fn greeting(devices: &[Greeted<'_>], forward: bool, serve: &ServeList) -> String {
    let mut ready = String::from("ready:");
    for Greeted { name, link } in devices {
        ready.push_str(&format!(" {name}"));
        for net in &link.addressing.stack {
            ready.push_str(&format!(" {net}"));
        }
    }
    if forward {
        ready.push_str(" forwarding");
    }
    for entry in serve.entries() {
        ready.push_str(&format!(" {entry}"));
    }
    let mut text = ready + "\n";
    let mut lines: Vec<String> = devices.iter().flat_map(ways_in).collect();
    for addr in addresses(devices) {
        let family = if addr.is_ipv6() { "-6 " } else { "" };
        lines.push(format!("ping {family}-c 3 {addr}"));
    }
    if let Some(addr) = addresses(devices).next() {
        lines.extend(services(addr, serve));
    }
    if forward {
        lines.extend(routing(devices));
    }
    for line in lines {
        text.push_str(&format!("try: {line}\n"));
    }
    text
}

fn addresses<'a>(devices: &'a [Greeted<'_>]) -> impl Iterator<Item = IpAddr> + 'a {
    devices.iter().flat_map(|device| &device.link.addressing.stack).map(IpNet::addr)
}

/// The routes that the kernel lacks to reach the stack, if its own addresses stand in other networks.
fn ways_in(device: &Greeted<'_>) -> Vec<String> {
    let Greeted { name, link } = device;
    let Some(host) = &link.addressing.host else { return Vec::new() };
    let is_out_of_reach = |addr: &IpAddr| !host.iter().any(|net| net.contains(addr));
    let out_of_reach = link.addressing.stack.iter().map(IpNet::addr).filter(is_out_of_reach);
    out_of_reach
        .map(|addr| {
            let family = if addr.is_ipv6() { "-6 " } else { "" };
            format!("ip {family}route add {addr} dev {name}")
        })
        .collect()
}

fn services(addr: IpAddr, serve: &ServeList) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(port) = serve.port_of(ServiceKind::Echo) {
        lines.push(format!("echo hello | nc -N {addr} {port}"));
        lines.push(format!("echo hello | nc -u -w 1 {addr} {port}"));
    }
    if let Some(port) = serve.port_of(ServiceKind::Daytime) {
        lines.push(format!("nc -d {addr} {port}"));
    }
    if let Some(port) = serve.port_of(ServiceKind::Chargen) {
        lines.push(format!("nc -d {addr} {port} | head"));
    }
    lines
}

/// What the kernels behind the devices need so that their packets for one another come to the stack. It is theirs to
/// be told: the stack is a router to them, and who it is reached through they can't know.
fn routing(devices: &[Greeted<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    let Some((first, others)) = devices.split_first() else { return lines };
    // A kernel with addresses on two of the devices takes the short way from one to the other. So all but the first
    // go to a namespace of their own.
    for other in others.iter().filter(|other| other.link.addressing.host.is_some()) {
        lines.push(moved(other));
    }
    for other in others {
        lines.extend(routes(first, other));
        if other.link.addressing.host.is_none() {
            lines.extend(routes(other, first));
        }
    }
    let hosts = others.iter().filter_map(|other| other.link.addressing.host.as_ref()?.first());
    lines.extend(hosts.map(|host| format!("ping -c 3 {}", host.addr())));
    lines
}

/// Takes a device to a namespace that bears its name, with what it loses on the way.
fn moved(device: &Greeted<'_>) -> String {
    let name = device.name;
    let mut words = vec![format!("ip netns add {name}"), format!("ip link set dev {name} netns {name}")];
    for host in device.link.addressing.host.iter().flatten() {
        let family = if host.addr().is_ipv6() { " nodad" } else { "" };
        words.push(format!("ip -n {name} addr add {host} dev {name}{family}"));
    }
    words.push(format!("ip -n {name} link set dev {name} up"));
    for ours in first_of_each_family(&device.link.addressing.stack) {
        let family = if ours.is_ipv6() { "-6 " } else { "" };
        words.push(format!("ip -n {name} {family}route add default via {ours}"));
    }
    words.join(" && ")
}

/// The routes by which `from`'s kernel reaches the networks of `to`.
fn routes(from: &Greeted<'_>, to: &Greeted<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for via in first_of_each_family(&from.link.addressing.stack) {
        let family = if via.is_ipv6() { "-6 " } else { "" };
        let same_family = to.link.addressing.stack.iter().filter(|net| net.addr().is_ipv6() == via.is_ipv6());
        let mut networks: Vec<IpNet> = same_family.map(IpNet::trunc).collect();
        networks.dedup();
        lines.extend(
            networks.iter().map(|net| format!("ip {family}route add {net} via {via} dev {}", from.name)),
        );
    }
    lines
}

fn first_of_each_family(nets: &[IpNet]) -> Vec<IpAddr> {
    let first = |ipv6: bool| nets.iter().map(IpNet::addr).find(|addr| addr.is_ipv6() == ipv6);
    [first(false), first(true)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::network::tests::network;
    use super::*;

    fn said(line: &str, names: &[&str], forward: bool, serve: &str) -> String {
        let network = network(line).unwrap();
        let links = network.links();
        assert_eq!(names.len(), links.len());
        let devices: Vec<Greeted<'_>> =
            names.iter().zip(links).map(|(name, link)| Greeted { name, link }).collect();
        greeting(&devices, forward, &serve.parse().unwrap())
    }

    #[test]
    fn the_first_line_tells_device_addresses_and_services() {
        insta::assert_snapshot!(said("", &["tun0"], false, "echo,discard,daytime,chargen"), @"
        ready: tun0 10.9.0.2/24 fd09::2/64 echo:7 discard:9 daytime:13 chargen:19
        try: ping -c 3 10.9.0.2
        try: ping -6 -c 3 fd09::2
        try: echo hello | nc -N 10.9.0.2 7
        try: echo hello | nc -u -w 1 10.9.0.2 7
        try: nc -d 10.9.0.2 13
        try: nc -d 10.9.0.2 19 | head
        ");
        insta::assert_snapshot!(said("--addr 10.9.0.2/24", &["tun7"], false, "none"), @"
        ready: tun7 10.9.0.2/24
        try: ping -c 3 10.9.0.2
        ");
    }

    #[test]
    fn a_router_says_in_one_line_what_it_is_and_then_what_its_neighbours_need() {
        let two = "--tun a --addr 10.1.0.1/24 --addr fd01::1/64 --tun b --addr 10.2.0.1/24 --addr fd02::1/64";
        insta::assert_snapshot!(said(two, &["a", "b"], true, "echo"), @"
        ready: a 10.1.0.1/24 fd01::1/64 b 10.2.0.1/24 fd02::1/64 forwarding echo:7
        try: ping -c 3 10.1.0.1
        try: ping -6 -c 3 fd01::1
        try: ping -c 3 10.2.0.1
        try: ping -6 -c 3 fd02::1
        try: echo hello | nc -N 10.1.0.1 7
        try: echo hello | nc -u -w 1 10.1.0.1 7
        try: ip netns add b && ip link set dev b netns b && ip -n b addr add 10.2.0.2/24 dev b && ip -n b addr add fd02::2/64 dev b nodad && ip -n b link set dev b up && ip -n b route add default via 10.2.0.1 && ip -n b -6 route add default via fd02::1
        try: ip route add 10.2.0.0/24 via 10.1.0.1 dev a
        try: ip -6 route add fd02::/64 via fd01::1 dev a
        try: ping -c 3 10.2.0.2
        ");
        let bare = "--tun a --addr 10.1.0.1/24 --host-addr none --tun b --addr 10.2.0.1/24 --host-addr none";
        insta::assert_snapshot!(said(bare, &["a", "b"], true, "none"), @"
        ready: a 10.1.0.1/24 b 10.2.0.1/24 forwarding
        try: ping -c 3 10.1.0.1
        try: ping -c 3 10.2.0.1
        try: ip route add 10.2.0.0/24 via 10.1.0.1 dev a
        try: ip route add 10.1.0.0/24 via 10.2.0.1 dev b
        ");
    }

    #[test]
    fn a_kernel_whose_addresses_are_elsewhere_is_told_the_way() {
        let apart = "--addr 10.1.0.2/32 --addr 10.8.0.9/24 --addr fd01::2/128 --host-addr 10.8.0.1/24";
        insta::assert_snapshot!(said(apart, &["tun0"], false, "none"), @"
        ready: tun0 10.1.0.2/32 10.8.0.9/24 fd01::2/128
        try: ip route add 10.1.0.2 dev tun0
        try: ip -6 route add fd01::2 dev tun0
        try: ping -c 3 10.1.0.2
        try: ping -c 3 10.8.0.9
        try: ping -6 -c 3 fd01::2
        ");
    }

    #[test]
    fn several_devices_without_forwarding_say_nothing_of_routes() {
        let two = "--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24";
        insta::assert_snapshot!(said(two, &["a", "b"], false, "none"), @"
        ready: a 10.1.0.1/24 b 10.2.0.1/24
        try: ping -c 3 10.1.0.1
        try: ping -c 3 10.2.0.1
        ");
    }
}
