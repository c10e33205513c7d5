//! What every command that starts a stack may be told: devices, addresses and routes.
//!
//! `--tun`, `--addr`, `--host-addr` and `--mtu` are options whose order on the command line means something.
//! Each `--tun` begins a device, and what stands behind it belongs to it; what stands before the first `--tun`
//! belongs to the first device, too. Clap hands options out by name, so their order is put together again
//! from the place of each value.

use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use ipnet::IpNet;

use super::addressing::{HostAddr, parse_cidr, parse_host_addr};
use crate::net::RouteConfig;

/// Devices, addresses and routes: what every command that starts a stack may be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct NetworkArgs {
    #[command(flatten)]
    pub(crate) links: Links,

    /// Route of the stack; repeat for more. TYPE is blackhole, unreachable or prohibit. A single device is the
    /// default route; of several, name one as in `0.0.0.0/0,via=10.1.0.2`
    #[arg(
        long,
        value_name = "CIDR[,via=ADDR][,dev=NAME][,metric=N][,src=ADDR][,type=TYPE]",
        value_parser = named(str::parse::<RouteConfig>)
    )]
    pub(crate) route: Vec<RouteConfig>,
}

/// The devices asked for, in their order: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Links(Vec<LinkArgs>);

/// What was said of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkArgs {
    /// Its name; `None` makes the next free one.
    pub(crate) tun: Option<String>,
    /// The stack's addresses on it.
    pub(crate) addr: Vec<IpNet>,
    /// The kernel's addresses on it.
    pub(crate) host_addr: Vec<HostAddr>,
    /// Its MTU in bytes.
    pub(crate) mtu: Option<u16>,
}

impl Links {
    /// The devices, in the order of the command line.
    pub(crate) fn each(&self) -> &[LinkArgs] {
        &self.0
    }
}

impl LinkArgs {
    /// What to call the device in a sentence.
    pub(crate) fn label(&self) -> &str {
        self.tun.as_deref().unwrap_or("the device")
    }
}

/// A value parser whose errors are sentences of ours.
pub(crate) fn named<T, E>(parse: fn(&str) -> Result<T, E>) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync + 'static>> + 'static,
{
    StringValueParser::new().try_map(move |text| parse(&text))
}

/// One option with its value.
enum Word {
    Tun(String),
    Addr(IpNet),
    HostAddr(HostAddr),
    Mtu(u16),
}

impl FromArgMatches for Links {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut words: Vec<(usize, Word)> = Vec::new();
        words.extend(placed(matches, "tun", Word::Tun));
        words.extend(placed(matches, "addr", Word::Addr));
        words.extend(placed(matches, "host_addr", Word::HostAddr));
        words.extend(placed(matches, "mtu", Word::Mtu));
        words.sort_by_key(|(place, _)| *place);
        let mut links = Links(vec![LinkArgs::default()]);
        for (_, word) in words {
            links.take(word)?;
        }
        Ok(links)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Links::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Links {
    fn augment_args(command: Command) -> Command {
        command
            .arg(option("tun", "tun", "NAME").value_parser(clap::value_parser!(String)).help(
                "TUN device to attach to, made if it doesn't exist; repeat for more, and what follows belongs to it \
                 [default: the next free tunN, always made anew]",
            ))
            .arg(option("addr", "addr", "CIDR").value_parser(named(parse_cidr)).help(
                "Address of the stack on that device; repeat for more [default for a single device: 10.9.0.2/24 and \
                 fd09::2/64]",
            ))
            .arg(option("host_addr", "host-addr", "CIDR|none").value_parser(named(parse_host_addr)).help(
                "Address of the kernel's side of that device; repeat for more. `none` leaves address and link of \
                 the kernel's side alone, and its MTU unless there is --mtu [default: the first free address of each --addr network]",
            ))
            .arg(option("mtu", "mtu", "BYTES").value_parser(mtu()).help(
                "Largest datagram of that device in bytes [default: what the device has; 1500 on a new one]",
            ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Links {
    fn take(&mut self, word: Word) -> Result<(), clap::Error> {
        if let Word::Tun(name) = &word {
            if self.0.iter().any(|link| link.tun.as_ref() == Some(name)) {
                return Err(complaint(format!(
                    "--tun {name}: the device is named twice; name it once, with all its addresses behind it, as in \
                     `--tun {name} --addr 10.1.0.1/24 --addr fd01::1/64`"
                )));
            }
            // The first name is that of the device which is there from the start.
            if !matches!(self.0.as_slice(), [LinkArgs { tun: None, .. }]) {
                self.0.push(LinkArgs::default());
            }
        }
        let Some(link) = self.0.last_mut() else { return Ok(()) };
        match word {
            Word::Tun(name) => link.tun = Some(name),
            Word::Addr(net) => link.addr.push(net),
            Word::HostAddr(host) => link.host_addr.push(host),
            Word::Mtu(mtu) => {
                if let Some(before) = link.mtu.replace(mtu) {
                    return Err(complaint(format!(
                        "--mtu: {} has {before} already; give each device one, as in `--mtu {mtu}`",
                        link.label()
                    )));
                }
            }
        }
        Ok(())
    }
}

fn option(id: &'static str, long: &'static str, value: &'static str) -> Arg {
    Arg::new(id).long(long).value_name(value).action(ArgAction::Append)
}

fn mtu() -> impl TypedValueParser<Value = u16> {
    // RFC 791 section 3.2: every internet module takes datagrams of 68 bytes.
    clap::value_parser!(u16).range(68..)
}

/// The values of an option, each with its place on the command line.
fn placed<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    id: &str,
    word: fn(T) -> Word,
) -> impl Iterator<Item = (usize, Word)> {
    let places = matches.indices_of(id).into_iter().flatten();
    let values = matches.get_many::<T>(id).into_iter().flatten().cloned();
    places.zip(values.map(word))
}

fn complaint(text: String) -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> Result<Vec<LinkArgs>, String> {
        let command = Links::augment_args(Command::new("up").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace()).map_err(|e| e.to_string())?;
        Links::from_arg_matches(&matches).map(|links| links.0).map_err(|e| e.to_string())
    }

    fn link(tun: Option<&str>, addr: &[&str], host: &[&str], mtu: Option<u16>) -> LinkArgs {
        LinkArgs {
            tun: tun.map(str::to_owned),
            addr: addr.iter().map(|text| text.parse().unwrap()).collect(),
            host_addr: host.iter().map(|text| parse_host_addr(text).unwrap()).collect(),
            mtu,
        }
    }

    #[test]
    fn nothing_said_is_one_device_without_a_name() {
        assert_eq!(read("").unwrap(), [LinkArgs::default()]);
        assert_eq!(read("--mtu 1400").unwrap(), [link(None, &[], &[], Some(1400))]);
    }

    #[test]
    fn what_stands_behind_a_device_belongs_to_it() {
        let said = read(
            "--tun a --addr 10.1.0.1/24 --mtu 1400 --addr fd01::1/64 --tun b --host-addr none --addr=10.2.0.1/24",
        );
        let a = link(Some("a"), &["10.1.0.1/24", "fd01::1/64"], &[], Some(1400));
        let b = link(Some("b"), &["10.2.0.1/24"], &["none"], None);
        assert_eq!(said.unwrap(), [a, b]);
    }

    #[test]
    fn what_stands_before_the_first_device_belongs_to_the_first() {
        let said = read("--addr 10.1.0.1/24 --tun a --host-addr 10.1.0.9/24 --tun b --addr 10.2.0.1/24");
        let a = link(Some("a"), &["10.1.0.1/24"], &["10.1.0.9/24"], None);
        assert_eq!(said.unwrap(), [a, link(Some("b"), &["10.2.0.1/24"], &[], None)]);
    }

    #[test]
    fn a_device_or_an_mtu_said_twice_is_refused() {
        insta::assert_snapshot!(read("--tun a --tun b --tun a").unwrap_err(), @"error: --tun a: the device is named twice; name it once, with all its addresses behind it, as in `--tun a --addr 10.1.0.1/24 --addr fd01::1/64`");
        insta::assert_snapshot!(read("--tun a --mtu 1400 --tun b --mtu 1300 --mtu 1280").unwrap_err(), @"error: --mtu: b has 1300 already; give each device one, as in `--mtu 1280`");
    }

    proptest! {
        /// The model: the words read from left to right, as the module says.
        #[test]
        fn every_order_of_words_is_grouped_as_reading_them_aloud_would(
            words in prop::collection::vec((0..3u8, 1..250u8), 0..12),
        ) {
            let mut line = String::new();
            let mut model = vec![link(None, &[], &[], None)];
            for (place, (kind, number)) in words.into_iter().enumerate() {
                let last = model.last_mut().unwrap();
                match kind {
                    0 => {
                        let name = format!("t{place}");
                        line += &format!("--tun {name} ");
                        if last.tun.is_none() {
                            last.tun = Some(name);
                        } else {
                            model.push(link(Some(&name), &[], &[], None));
                        }
                    }
                    1 => {
                        line += &format!("--addr 10.{place}.0.{number}/24 ");
                        last.addr.push(format!("10.{place}.0.{number}/24").parse().unwrap());
                    }
                    _ => {
                        line += &format!("--host-addr=10.{place}.0.{number}/24 ");
                        last.host_addr.push(parse_host_addr(&format!("10.{place}.0.{number}/24")).unwrap());
                    }
                }
            }
            prop_assert_eq!(read(&line).unwrap(), model);
        }
    }
}
