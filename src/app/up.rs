//! `tunstack up`: attach, announce, run until told to end.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::channel;

use ipnet::IpNet;

use super::addressing::Addressing;
use super::cli::{Offload, UpArgs};
use super::failure::Failure;
use super::serve::{ServeList, ServiceKind};
use super::services;
use super::signals::{self, Signal};
use crate::device::{HostError, OpenError};
use crate::net::{Net, StartError};
use crate::runtime::Stopped;

/// Runs the daemon to its end.
///
/// # Errors
/// Why it could not start, or had to end.
pub(crate) fn run(args: &UpArgs) -> Result<(), Failure> {
    // Before anything is opened, so that a signal meets a program that knows what to do with it.
    let signals = signals::catch().map_err(|error| Failure::new(format!("can't catch signals: {error}")))?;
    let addressing = Addressing::resolve(&args.addr, &args.host_addr)?;
    addressing.check_mtu(args.mtu)?;
    check_offload(args.offload)?;
    let addressing = fit_to_host(addressing, host_has_ipv6(Path::new("/proc/sys/net"), args.tun.as_deref()))?;

    let net = start(args, &addressing)?;
    announce(&greeting(net.name(), &addressing.stack, &args.serve));

    let (tell, wakes) = channel();
    let threads = signals.tell(tell.clone()).and_then(|()| {
        let net = net.clone();
        std::thread::Builder::new().name("stopped".into()).spawn(move || {
            let _ = tell.send(Wake::Stopped(net.wait_stopped()));
        })
    });
    threads.map_err(|error| Failure::new(format!("can't start a thread: {error}")))?;
    match wakes.recv() {
        Ok(Wake::Signal(signal)) => {
            log::info!("{signal}: ending; a second one ends at once");
            let report = net.shutdown(args.stop_timeout());
            log::info!("ended in {:?}: {} finished, {} reset", report.took, report.finished, report.reset);
            Ok(())
        }
        Ok(Wake::Stopped(stopped)) => Err(stopped_by_itself(stopped)),
        Err(_) => Err(Failure::new("lost sight of the stack's threads; please report this as a bug")),
    }
}

/// What ends the wait.
enum Wake {
    Signal(Signal),
    Stopped(Stopped),
}

impl From<Signal> for Wake {
    fn from(signal: Signal) -> Self {
        Wake::Signal(signal)
    }
}

fn start(args: &UpArgs, addressing: &Addressing) -> Result<Net, Failure> {
    let mut builder = match &args.tun {
        Some(name) => Net::builder().tun(name.as_str()),
        None => Net::builder().new_tun(),
    };
    for net in &addressing.stack {
        builder = builder.addr(*net);
    }
    for net in addressing.host.iter().flatten() {
        builder = builder.host_addr(*net);
    }
    // The device is the only way out: whoever comes through it is answered, from whatever network he comes.
    builder = builder.route("0.0.0.0/0").route("::/0");
    // Without a word the device keeps its own: 1,500 on a new one.
    if let Some(mtu) = args.mtu {
        builder = builder.mtu(usize::from(mtu));
    }
    let addrs: Vec<IpAddr> = addressing.stack.iter().map(IpNet::addr).collect();
    services::add_all(builder, &args.serve, &addrs)
        .start()
        .map_err(|error| Failure::new(explain(&error, &command_line())))
}

/// What went wrong. Errors of the library know no more than a library can; what this program's user can do
/// instead is said here.
fn explain(error: &StartError, command: &str) -> String {
    match error {
        StartError::Device(OpenError::CreateForbidden { name }) => format!(
            "no permission to make a TUN device (it takes CAP_NET_ADMIN): run `sudo {command}`, or without \
             privilege `scripts/rootless`, or on a device made for you once by `scripts/persistent-tun {name}` \
             (at its heart `sudo ip tuntap add dev {name} mode tun user $USER`)"
        ),
        StartError::Host(HostError::NotPermitted { name, address }) => format!(
            "no permission to configure {name} (it takes CAP_NET_ADMIN): run `sudo {command}`, or configure it by \
             `sudo ip address add {address} dev {name} && sudo ip link set {name} up` and add `--host-addr none`"
        ),
        StartError::Host(HostError::AddressTaken { .. } | HostError::NetworkTaken { .. }) => {
            format!("{error}; for another network run `tunstack up --addr 10.10.0.2/24`")
        }
        other => other.to_string(),
    }
}

/// How this program was called, for a line that says how to call it otherwise.
fn command_line() -> String {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}

fn check_offload(offload: Offload) -> Result<(), Failure> {
    match offload {
        Offload::Auto | Offload::Off => Ok(()),
        Offload::On => Err(Failure::new(
            "the device with kernel offload isn't built yet; run on the plain device with \
             `tunstack up --offload off`",
        )),
    }
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

/// The ready line, then what to try.
fn greeting(name: &str, stack: &[IpNet], serve: &ServeList) -> String {
    let mut text = format!("ready: {name}");
    for net in stack {
        text.push_str(&format!(" {net}"));
    }
    for entry in serve.entries() {
        text.push_str(&format!(" {entry}"));
    }
    text.push('\n');
    let mut lines = Vec::new();
    for addr in stack.iter().map(IpNet::addr) {
        let family = if addr.is_ipv6() { "-6 " } else { "" };
        lines.push(format!("ping {family}-c 3 {addr}"));
    }
    if let Some(addr) = stack.first().map(IpNet::addr) {
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
    }
    for line in lines {
        text.push_str(&format!("try: {line}\n"));
    }
    text
}

fn announce(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that has closed its end is no reason to end: the daemon serves the network.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn stopped_by_itself(stopped: Stopped) -> Failure {
    match stopped {
        Stopped::DeviceGone { name } => Failure::new(format!(
            "the device {name} is gone: it was deleted while in use; start anew with `tunstack up`"
        )),
        Stopped::Shutdown(_) | Stopped::Failed { .. } => {
            Failure::new(format!("{stopped}; run again with `tunstack -v up` and report what it says"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_device_addresses_and_services() {
        let both = Addressing::resolve(&[], &[]).unwrap();
        insta::assert_snapshot!(greeting("tun0", &both.stack, &ServeList::default()), @"
        ready: tun0 10.9.0.2/24 fd09::2/64 echo:7 discard:9 daytime:13 chargen:19
        try: ping -c 3 10.9.0.2
        try: ping -6 -c 3 fd09::2
        try: echo hello | nc -N 10.9.0.2 7
        try: echo hello | nc -u -w 1 10.9.0.2 7
        try: nc -d 10.9.0.2 13
        try: nc -d 10.9.0.2 19 | head
        ");
        let nothing: ServeList = "none".parse().unwrap();
        insta::assert_snapshot!(greeting("tun7", &both.without_ipv6().stack, &nothing), @"
        ready: tun7 10.9.0.2/24
        try: ping -c 3 10.9.0.2
        ");
    }

    #[test]
    fn ipv6_is_left_out_by_default_and_refused_where_it_was_asked_for() {
        let both = || Addressing::resolve(&[], &[]).unwrap();
        assert_eq!(fit_to_host(both(), true).unwrap(), both());
        assert_eq!(fit_to_host(both(), false).unwrap(), both().without_ipv6());
        let asked = Addressing::resolve(&["fd01::2/64".parse().unwrap()], &[]).unwrap();
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
        insta::assert_snapshot!(explain(&create, "tunstack up -v"), @"no permission to make a TUN device (it takes CAP_NET_ADMIN): run `sudo tunstack up -v`, or without privilege `scripts/rootless`, or on a device made for you once by `scripts/persistent-tun tun0` (at its heart `sudo ip tuntap add dev tun0 mode tun user $USER`)");
        let address = "10.9.0.1/24".to_owned();
        let configure = StartError::Host(HostError::NotPermitted { name: "tun0".into(), address });
        insta::assert_snapshot!(explain(&configure, "tunstack up"), @"no permission to configure tun0 (it takes CAP_NET_ADMIN): run `sudo tunstack up`, or configure it by `sudo ip address add 10.9.0.1/24 dev tun0 && sudo ip link set tun0 up` and add `--host-addr none`");
        let taken =
            HostError::AddressTaken { address: "10.9.0.1/24".parse().unwrap(), interface: "tun0".into() };
        let said = explain(&StartError::Host(taken), "tunstack up");
        assert!(said.ends_with("; for another network run `tunstack up --addr 10.10.0.2/24`"), "{said}");
        assert_eq!(explain(&StartError::NoAddress, "tunstack up"), StartError::NoAddress.to_string());
    }

    #[test]
    fn what_cannot_be_run_is_said_with_the_remedy() {
        insta::assert_snapshot!(check_offload(Offload::On).unwrap_err(), @"tunstack: the device with kernel offload isn't built yet; run on the plain device with `tunstack up --offload off`");
        let gone = stopped_by_itself(Stopped::DeviceGone { name: "tun0".into() });
        insta::assert_snapshot!(gone, @"tunstack: the device tun0 is gone: it was deleted while in use; start anew with `tunstack up`");
        assert_eq!(gone.status(), 1);
    }
}
