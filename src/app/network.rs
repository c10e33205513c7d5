//! From what the command line says of devices, addresses and routes to a stack that can be started.
//!
//! Owns what concerns several devices together: that no address and no network is on two of them, that routes lead
//! somewhere, which default route there is; and what this program's user can do when the stack can't start.
//! Addresses of a single device are [`Addressing`]'s.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use super::addressing::{Addressing, first_free_host, unfit};
use super::failure::Failure;
use super::links::{LinkArgs, NetworkArgs};
use crate::device::host::beforehand;
use crate::device::{HostError, OpenError};
use crate::net::{Builder, Net, OffloadMode, RouteConfig, RouteKind, StartError};

/// Devices with their addresses, and routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    links: Vec<Link>,
    routes: Vec<RouteConfig>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its name; `None` makes the next free one.
    pub(crate) tun: Option<String>,
    /// The addresses of both of its sides.
    pub(crate) addressing: Addressing,
    mtu: Option<u16>,
}

impl Network {
    /// Works out addresses and routes.
    ///
    /// # Errors
    /// A usage failure: whatever contradicts itself.
    pub(crate) fn resolve(args: &NetworkArgs) -> Result<Self, Failure> {
        let several = args.links.each().len() > 1;
        let mut links: Vec<Link> = Vec::new();
        for asked in args.links.each() {
            if several && asked.addr.is_empty() {
                return Err(no_address(asked, &links));
            }
            let addressing = Addressing::resolve(&asked.addr, &asked.host_addr)?;
            addressing.check_mtu(asked.mtu)?;
            let link = Link { tun: asked.tun.clone(), addressing, mtu: asked.mtu };
            for other in &links {
                check_apart(other, &link, &links)?;
            }
            links.push(link);
        }
        for route in &args.route {
            check_route(route, &links)?;
        }
        Ok(Network { links, routes: args.route.clone() })
    }

    /// The same devices with another network's addresses, where none were said.
    pub(crate) fn numbered(mut self, number: u8) -> Self {
        for link in self.links.iter_mut().filter(|link| link.addressing.by_default) {
            link.addressing = Addressing::by_default(number);
        }
        self
    }

    /// Leaves IPv6 out by default where the host has it switched off; `sysctls` is `/proc/sys/net`.
    ///
    /// # Errors
    /// A failure if IPv6 was asked for there.
    pub(crate) fn fit_to_host(mut self, sysctls: &Path) -> Result<Self, Failure> {
        for link in &mut self.links {
            let has_ipv6 = host_has_ipv6(sysctls, link.tun.as_deref());
            link.addressing = fit_to_host(link.addressing.clone(), has_ipv6)?;
        }
        Ok(self)
    }

    /// The stack's addresses.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.links.iter().flat_map(|link| &link.addressing.stack).map(IpNet::addr).collect()
    }

    /// The devices, in the order of the command line.
    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// Whether nothing was said about addresses.
    pub(crate) fn is_by_default(&self) -> bool {
        self.links.iter().all(|link| link.addressing.by_default)
    }

    /// All this as wishes to the library, and which offloads the devices are to have.
    pub(crate) fn builder(&self, offload: OffloadMode) -> Builder {
        let mut builder = Net::builder();
        for link in &self.links {
            builder = match &link.tun {
                Some(name) => builder.tun(name.as_str()),
                None => builder.new_tun(),
            }
            .offload(offload);
            for net in &link.addressing.stack {
                builder = builder.addr(*net);
            }
            for net in link.addressing.host.iter().flatten() {
                builder = builder.host_addr(*net);
            }
            // Without a word the device keeps its own: 1,500 on a new one.
            if let Some(mtu) = link.mtu {
                builder = builder.mtu(usize::from(mtu));
            }
        }
        for route in self.routes.iter().cloned().chain(self.default_routes()) {
            builder = builder.route(route);
        }
        builder
    }

    /// A single device is the only way out: whoever comes through it is answered, from whatever network he comes.
    /// Of several, none is more of a way out than the others.
    fn default_routes(&self) -> Vec<RouteConfig> {
        if self.links.len() != 1 {
            return Vec::new();
        }
        let everywhere = [IpNet::V4(ipnet::Ipv4Net::default()), IpNet::V6(ipnet::Ipv6Net::default())];
        let is_said = |net: &IpNet| {
            let connected = self.links.iter().flat_map(|link| &link.addressing.stack).map(IpNet::trunc);
            self.routes.iter().map(|route| route.destination).chain(connected).any(|said| said == *net)
        };
        everywhere.into_iter().filter(|net| !is_said(net)).map(RouteConfig::to).collect()
    }
}

/// How the program was called, for lines that say how to call it otherwise.
pub(crate) struct Called {
    command: String,
    elsewhere: String,
}

impl Called {
    /// As it was called now; `elsewhere` is how to call it for another network.
    pub(crate) fn now(elsewhere: impl Into<String>) -> Self {
        let words: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        Called { command: words.join(" "), elsewhere: elsewhere.into() }
    }
}

/// Starts a stack for one errand: in another network, where none was named and others have the usual ones.
/// `elsewhere` is how to call the program for a network that is named.
///
/// # Errors
/// Why it could not start.
pub(crate) fn start_anywhere(args: &NetworkArgs, elsewhere: &str) -> Result<Net, Failure> {
    let sysctls = Path::new("/proc/sys/net");
    let mut network = Network::resolve(args)?.fit_to_host(sysctls)?;
    for number in 1..=NETWORKS_TRIED {
        match network.builder(OffloadMode::Auto).start() {
            // Another stack of ours has the usual network: one is as good as another.
            Err(StartError::Host(HostError::AddressTaken { .. } | HostError::NetworkTaken { .. }))
                if network.is_by_default() && number < NETWORKS_TRIED =>
            {
                network = network.numbered(number).fit_to_host(sysctls)?;
            }
            Err(error) => return Err(Failure::new(explain(&error, &Called::now(elsewhere)))),
            Ok(net) => return Ok(net),
        }
    }
    Err(Failure::new(format!("no network is free; name one, as in `{elsewhere}`")))
}

/// Networks that are tried when none is named, while others have them.
const NETWORKS_TRIED: u8 = 16;

/// What went wrong when the stack was to start. Errors of the library know no more than a library can; what this
/// program's user can do instead is said here.
pub(crate) fn explain(error: &StartError, called: &Called) -> String {
    let Called { command, elsewhere } = called;
    match error {
        StartError::Device(OpenError::CreateForbidden { name }) => format!(
            "no permission to make a TUN device (it takes CAP_NET_ADMIN): run `sudo {command}`, or without \
             privilege `scripts/rootless`, or on a device made for you once by `scripts/persistent-tun {name}` \
             (at its heart `sudo ip tuntap add dev {name} mode tun user $USER`)"
        ),
        StartError::Host(HostError::NotPermitted { name, address, mtu }) => {
            let instead = match (address, mtu) {
                (Some(_), None) => "add `--host-addr none`",
                (Some(_), Some(_)) => "say `--host-addr none` instead of `--mtu`",
                (None, _) => "leave `--mtu` out",
            };
            format!(
                "no permission to configure {name} (it takes CAP_NET_ADMIN): run `sudo {command}`, or configure it by \
                 `{}` and {instead}",
                beforehand(name, *address, *mtu)
            )
        }
        StartError::Host(HostError::AddressTaken { .. } | HostError::NetworkTaken { .. }) => {
            format!("{error}; for another network run `{elsewhere}`")
        }
        other => other.to_string(),
    }
}

fn no_address(asked: &LinkArgs, links: &[Link]) -> Failure {
    let name = asked.label();
    let free = free_network(links, false);
    Failure::usage(format!(
        "--tun {name}: of several devices each needs an address; give it one, as in `--tun {name} --addr {free}`"
    ))
}

/// Checks that two devices have no address and no network in common: of such a network, half would be out of reach.
fn check_apart(first: &Link, second: &Link, links: &[Link]) -> Result<(), Failure> {
    let (a, b) = (first.label(), second.label());
    for (one, other) in first.nets().flat_map(|one| second.nets().map(move |other| (one, other))) {
        let instead = free_network(links, other.addr().is_ipv6());
        if one.addr() == other.addr() && !is_link_local(one) {
            return Err(Failure::usage(format!(
                "{} is given to both {a} and {b}; give {b} another, as in `--tun {b} --addr {instead}`",
                one.addr()
            )));
        }
        let overlap = one.contains(&other.trunc()) || other.contains(&one.trunc());
        if overlap && !is_link_local(one) {
            return Err(Failure::usage(format!(
                "{other} of {b} overlaps {one} of {a}; give {b} a network of its own, as in `--tun {b} --addr {instead}`"
            )));
        }
    }
    Ok(())
}

fn check_route(route: &RouteConfig, links: &[Link]) -> Result<(), Failure> {
    let names: Vec<&str> = links.iter().filter_map(|link| link.tun.as_deref()).collect();
    let refuse = |what: String| Err(Failure::usage(format!("--route {route}: {what}")));
    match route.dev.as_deref() {
        Some(dev) if !names.contains(&dev) => {
            let mend = match names.as_slice() {
                [] => format!("name it, as in `--tun {dev}`"),
                [name, ..] => format!("it has {}, as in `dev={name}`", names.join(" and ")),
            };
            return refuse(format!("the stack has no device {dev}; {mend}"));
        }
        None if route.via.is_none() && route.kind == RouteKind::Unicast && links.len() > 1 => {
            let name = names.first().unwrap_or(&"tun0");
            return refuse(format!(
                "of several devices one is to be named; say `--route {route},dev={name}`"
            ));
        }
        Some(_) | None => {}
    }
    if let Some(source) = route.src {
        check_source(route, source, links)?;
    }
    if let Some(via) = route.via {
        check_via(route, via, route.dev.as_deref(), links)?;
    }
    Ok(())
}

fn check_source(route: &RouteConfig, source: IpAddr, links: &[Link]) -> Result<(), Failure> {
    let mut ours = links.iter().flat_map(|link| &link.addressing.stack).map(IpNet::addr);
    if ours.clone().any(|addr| addr == source) {
        return Ok(());
    }
    let mend = match ours.find(|addr| addr.is_ipv4() == source.is_ipv4()) {
        Some(addr) => format!("name one that is, as in `src={addr}`"),
        None => "give it to a device with `--addr`".to_owned(),
    };
    Err(Failure::usage(format!("--route {route}: src={source} is not an address of the stack; {mend}")))
}

fn check_via(route: &RouteConfig, via: IpAddr, dev: Option<&str>, links: &[Link]) -> Result<(), Failure> {
    let refuse = |what: String| Err(Failure::usage(format!("--route {route}: {what}")));
    let nets = || links.iter().flat_map(|link| link.addressing.stack.iter().map(move |net| (link, net)));
    if let Some((link, net)) = nets().find(|(_, net)| net.addr() == via) {
        let hosts = link.addressing.host.iter().flatten();
        let neighbour = hosts.map(IpNet::addr).find(|addr| net.contains(addr));
        let example = neighbour.map_or_else(String::new, |addr| format!(", as in `via={addr}`"));
        return refuse(format!(
            "via={via} is the stack's own address; name the router behind {}{example}",
            link.label()
        ));
    }
    check_router(route, via, links)?;
    if is_link_local(&IpNet::from(via)) {
        return match (dev, links) {
            (None, [_, _, ..]) => {
                let name = links.first().map_or("tun0", Link::label);
                refuse(format!("via={via} is an address on any link; name the device, as in `dev={name}`"))
            }
            (Some(_) | None, _) => Ok(()),
        };
    }
    let reached: Vec<&Link> = nets().filter(|(_, net)| net.contains(&via)).map(|(link, _)| link).collect();
    match (reached.first(), dev) {
        (None, _) => {
            let name = dev.map(|dev| format!("--tun {dev} ")).unwrap_or_default();
            let len = if via.is_ipv4() { 24 } else { 64 };
            let net = IpNet::new_assert(via, len);
            let ours = first_free_host(net, &[IpNet::from(via)]).unwrap_or(net);
            refuse(format!(
                "via={via} is in no network of the stack's; give the stack an address there, as in `{name}--addr {ours}`"
            ))
        }
        (Some(link), Some(dev)) if link.tun.as_deref() != Some(dev) => refuse(format!(
            "via={via} is reached by {0}, not by {dev}; say `dev={0}` or leave dev= out",
            link.label()
        )),
        (Some(_), _) => Ok(()),
    }
}

/// Checks that a router can have the address: the core would only say that it is invalid.
fn check_router(route: &RouteConfig, via: IpAddr, links: &[Link]) -> Result<(), Failure> {
    let nets = || links.iter().flat_map(|link| &link.addressing.stack);
    let network = nets().filter(|net| net.contains(&via)).max_by_key(|net| net.prefix_len());
    let len = network.map_or_else(|| IpNet::from(via).prefix_len(), IpNet::prefix_len);
    let Some(why) = unfit(IpNet::new_assert(via, len)) else { return Ok(()) };
    let taken: Vec<IpNet> = nets().copied().collect();
    let neighbour = network.or_else(|| nets().find(|net| net.addr().is_ipv4() == via.is_ipv4()));
    let example = neighbour.and_then(|net| first_free_host(*net, &taken));
    let mend =
        example.map_or_else(String::new, |net| format!("; name the router, as in `via={}`", net.addr()));
    Err(Failure::usage(format!("--route {route}: via={via} can't be a router's address: {why}{mend}")))
}

impl Link {
    /// What to call it in a sentence.
    pub(crate) fn label(&self) -> &str {
        self.tun.as_deref().unwrap_or("the device")
    }

    /// The addresses of both sides.
    fn nets(&self) -> impl Iterator<Item = &IpNet> {
        self.addressing.stack.iter().chain(self.addressing.host.iter().flatten())
    }
}

/// IPv6's link-local addresses mean something else on each link (RFC 4291 section 2.5.6).
fn is_link_local(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

/// An address in a network that no device has: for examples.
fn free_network(links: &[Link], ipv6: bool) -> IpNet {
    let candidate = |number: u16| match (ipv6, number) {
        (false, ..=255) => IpNet::new_assert(IpAddr::from([10, number as u8, 0, 1]), 24),
        // Somebody may have all of 10.0.0.0/8.
        (false, _) => IpNet::new_assert(IpAddr::from([192, 168, number as u8, 1]), 24),
        (true, _) => IpNet::new_assert(IpAddr::from([0xfd00 | number & 0xff, 0, 0, 0, 0, 0, 0, 1]), 64),
    };
    let is_free = |net: &IpNet| {
        links.iter().flat_map(Link::nets).all(|taken| !taken.contains(net) && !net.contains(&taken.trunc()))
    };
    (1..=511).map(candidate).find(is_free).unwrap_or_else(|| candidate(1))
}

/// Whether the kernel will let the device have an IPv6 address; `sysctls` is `/proc/sys/net`.
fn host_has_ipv6(sysctls: &Path, tun: Option<&str>) -> bool {
    let conf = sysctls.join("ipv6/conf");
    // A device that exists has a switch of its own; one that is made inherits the default.
    let own = tun.filter(|name| !name.contains('/')).map(|name| conf.join(name).join("disable_ipv6"));
    let switch = own.filter(|path| path.exists()).unwrap_or_else(|| conf.join("default/disable_ipv6"));
    match std::fs::read_to_string(switch) {
        Ok(value) => value.trim() == "0",
        // Without any sysctls there is no telling: try, and let the kernel say.
        Err(_) => !sysctls.exists(),
    }
}

fn fit_to_host(addressing: Addressing, has_ipv6: bool) -> Result<Addressing, Failure> {
    match addressing.host_ipv6() {
        Some(net) if !has_ipv6 => {
            if !addressing.by_default {
                return Err(Failure::new(format!(
                    "this machine has IPv6 switched off, so its side can't have {net}; switch it on with \
                     `sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0`"
                )));
            }
            log::warn!(
                "this machine has IPv6 switched off: going on with IPv4 alone (to have both: sudo sysctl -w \
                 net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0)"
            );
            Ok(addressing.without_ipv6())
        }
        _ => Ok(addressing),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    /// What follows from a command line of these options.
    pub(in super::super) fn network(line: &str) -> Result<Network, String> {
        let command = NetworkArgs::augment_args(clap::Command::new("up").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
        let args = NetworkArgs::from_arg_matches(&matches).unwrap();
        Network::resolve(&args).map_err(|failure| {
            assert_eq!(failure.status(), 2, "{failure}");
            failure.to_string()
        })
    }

    #[test]
    fn what_contradicts_itself_on_several_devices_is_refused_with_the_remedy() {
        let lines = [
            "--tun a --addr 10.1.0.1/24 --tun b",
            "--tun a --tun b --addr 10.1.0.1/24",
            "--tun a --addr 10.1.0.1/24 --tun b --addr 10.1.0.1/24",
            "--tun a --addr 10.1.0.1/24 --tun b --addr 10.1.0.9/24",
            "--tun a --addr 10.1.0.1/16 --tun b --addr 10.1.9.1/24",
            "--tun a --addr 10.1.0.1/8 --tun b --addr 10.2.0.1/24",
            "--tun a --addr fd01::1/64 --tun b --addr fd01::2/64",
            "--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24 --host-addr 10.1.0.1/24",
            "--tun a --addr 10.1.0.1/24 --route 10.0.0.0/8,dev=c",
            "--route 10.0.0.0/8,dev=c",
            "--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24 --route 10.0.0.0/8,via=10.3.0.2",
            "--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24 --route 10.0.0.0/8,via=10.2.0.2,dev=a",
            "--tun a --addr 10.1.0.1/24 --route 10.0.0.0/8,via=10.1.0.1",
            "--tun a --addr fd01::1/64 --tun b --addr fd02::1/64 --route ::/0,via=fe80::1",
            "--tun a --addr 10.1.0.1/24 --route 10.0.0.0/8,via=10.1.0.255",
            "--tun a --addr 10.1.0.1/24 --route 10.0.0.0/8,via=0.0.0.0",
            "--tun a --addr fd01::1/64 --route ::/0,via=ff02::2",
            "--tun a --addr 10.1.0.1/24 --route 10.0.0.0/8,dev=a,src=10.1.0.2",
            "--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24 --route 0.0.0.0/0",
        ];
        let said: Vec<String> =
            lines.iter().map(|line| format!("$ {line}\n{}\n", network(line).unwrap_err())).collect();
        insta::assert_snapshot!(said.concat());
    }

    #[test]
    fn networks_that_touch_nowhere_and_routes_that_lead_somewhere_are_taken() {
        for line in [
            "--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24 --tun c --addr 10.3.0.1/24",
            "--tun a --addr 10.1.0.1/24 --addr fe80::1/64 --tun b --addr 10.2.0.1/24 --addr fe80::1/64",
            "--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24 --route 10.0.0.0/8,via=10.2.0.2,dev=b,metric=5",
            "--tun a --addr 10.1.0.1/24 --tun b --addr fd01::1/64 --route ::/0,via=fe80::1,dev=b,src=fd01::1",
            "--route 10.7.0.0/16,type=blackhole",
        ] {
            network(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn the_default_route_leads_through_a_single_device_unless_another_is_said() {
        let defaults = |line: &str| -> Vec<String> {
            network(line).unwrap().default_routes().iter().map(RouteConfig::to_string).collect()
        };
        assert_eq!(defaults(""), ["0.0.0.0/0", "::/0"]);
        assert_eq!(defaults("--route 10.0.0.0/8,type=unreachable"), ["0.0.0.0/0", "::/0"]);
        assert_eq!(defaults("--route 0.0.0.0/0,type=unreachable"), ["::/0"]);
        // All of IPv4 is connected, and has its route by that.
        assert_eq!(defaults("--addr 10.9.0.2/0"), ["::/0"]);
        assert!(defaults("--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24").is_empty());
    }

    fn called(command: &str) -> Called {
        Called { command: command.into(), elsewhere: "tunstack up --addr 10.10.0.2/24".into() }
    }

    fn one(addr: &[&str]) -> Addressing {
        let addr: Vec<IpNet> = addr.iter().map(|text| text.parse().unwrap()).collect();
        Addressing::resolve(&addr, &[]).unwrap()
    }

    #[test]
    fn ipv6_is_left_out_by_default_and_refused_where_it_was_asked_for() {
        let both = || one(&[]);
        assert_eq!(fit_to_host(both(), true).unwrap(), both());
        assert_eq!(fit_to_host(both(), false).unwrap(), both().without_ipv6());
        let asked = one(&["fd01::2/64"]);
        insta::assert_snapshot!(fit_to_host(asked, false).unwrap_err(), @"tunstack: this machine has IPv6 switched off, so its side can't have fd01::1/64; switch it on with `sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0`");
    }

    #[test]
    fn the_devices_own_ipv6_switch_counts_before_the_default() {
        let root = std::env::temp_dir().join(format!("tunstack-ipv6-{}", std::process::id()));
        let set = |name: &str, value: &str| {
            let dir = root.join("ipv6/conf").join(name);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("disable_ipv6"), value).unwrap();
        };
        assert!(host_has_ipv6(&root, None), "nothing known");
        std::fs::create_dir_all(&root).unwrap();
        assert!(!host_has_ipv6(&root, None), "a kernel without IPv6");
        set("default", "1\n");
        set("tun3", "0\n");
        assert!(!host_has_ipv6(&root, None));
        assert!(!host_has_ipv6(&root, Some("tun4")));
        assert!(host_has_ipv6(&root, Some("tun3")));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn missing_privilege_is_answered_with_sudo_and_with_the_ways_that_need_none() {
        let create = StartError::Device(OpenError::CreateForbidden { name: "tun0".into() });
        insta::assert_snapshot!(explain(&create, &called("tunstack up -v")), @"no permission to make a TUN device (it takes CAP_NET_ADMIN): run `sudo tunstack up -v`, or without privilege `scripts/rootless`, or on a device made for you once by `scripts/persistent-tun tun0` (at its heart `sudo ip tuntap add dev tun0 mode tun user $USER`)");
        let forbidden = |address, mtu| HostError::NotPermitted { name: "tun0".into(), address, mtu }.into();
        let address = Some("10.9.0.1/24".parse().unwrap());
        let configure: StartError = forbidden(address, None);
        insta::assert_snapshot!(explain(&configure, &called("tunstack up")), @"no permission to configure tun0 (it takes CAP_NET_ADMIN): run `sudo tunstack up`, or configure it by `sudo ip address add 10.9.0.1/24 dev tun0 && sudo ip link set dev tun0 up` and add `--host-addr none`");
        insta::assert_snapshot!(explain(&forbidden(address, Some(1400)), &called("tunstack up")), @"no permission to configure tun0 (it takes CAP_NET_ADMIN): run `sudo tunstack up`, or configure it by `sudo ip link set dev tun0 mtu 1400 && sudo ip address add 10.9.0.1/24 dev tun0 && sudo ip link set dev tun0 up` and say `--host-addr none` instead of `--mtu`");
        insta::assert_snapshot!(explain(&forbidden(None, Some(1400)), &called("tunstack up")), @"no permission to configure tun0 (it takes CAP_NET_ADMIN): run `sudo tunstack up`, or configure it by `sudo ip link set dev tun0 mtu 1400` and leave `--mtu` out");
        insta::assert_snapshot!(forbidden(None, Some(1400)).to_string(), @"no permission to configure tun0: run this with `sudo`, or do it beforehand with `sudo ip link set dev tun0 mtu 1400` and leave it out here");
        let taken =
            HostError::AddressTaken { address: "10.9.0.1/24".parse().unwrap(), interface: "tun0".into() };
        let said = explain(&StartError::Host(taken), &called("tunstack up"));
        assert!(said.ends_with("; for another network run `tunstack up --addr 10.10.0.2/24`"), "{said}");
        assert_eq!(
            explain(&StartError::NoAddress, &called("tunstack up")),
            StartError::NoAddress.to_string()
        );
    }
}
