//! Whom to talk to: an address, or a name that this machine's resolver knows, in the family asked for.

use std::net::{IpAddr, ToSocketAddrs as _};

use clap::Args;

use super::failure::Failure;

/// Somebody, as the command line names him.
#[derive(Args, Clone, Debug)]
pub(crate) struct Destination {
    /// Whom: an address, or a name that this machine's resolver knows
    #[arg(id = "destination", value_name = "ADDR")]
    pub(crate) name: String,

    /// Take the IPv4 address of a name
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,

    /// Take the IPv6 address of a name
    #[arg(short = '6', long)]
    ipv6: bool,
}

impl Destination {
    /// The address. `command` is how to call the program for another destination: what examples show.
    ///
    /// # Errors
    /// A usage failure: there is none, or none of the family.
    pub(crate) fn resolve(&self, command: impl Fn(&str) -> String) -> Result<IpAddr, Failure> {
        let name = self.name.as_str();
        let fits = |addr: &IpAddr| (!self.ipv4 || addr.is_ipv4()) && (!self.ipv6 || addr.is_ipv6());
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => "IPv4 ",
            (false, true) => "IPv6 ",
            (false, false) => "",
        };
        if let Ok(addr) = name.parse::<IpAddr>() {
            return Some(addr).filter(fits).ok_or_else(|| {
                let other = if addr.is_ipv4() { "-4" } else { "-6" };
                let instead = command(&format!("{other} {addr}"));
                Failure::usage(format!("{addr} is not an {family}address; try `{instead}`"))
            });
        }
        let found = (name, 0).to_socket_addrs().map_err(|error| {
            Failure::usage(format!(
                "'{name}' is neither an address nor a name that this machine can resolve ({error}); try an address, \
                 as in `{}`",
                command("10.9.0.1")
            ))
        })?;
        found
            .map(|addr| addr.ip())
            .find(fits)
            .ok_or_else(|| Failure::usage(format!("{name} has no {family}address; try `{}`", command(name))))
    }
}
