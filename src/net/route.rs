//! Routes as people write them.
//!
//! `CIDR[,via=ADDR][,dev=NAME][,metric=N][,src=ADDR][,type=blackhole|unreachable|prohibit]`: read and written here,
//! with device names where the core has ids.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::interface::Known;
use crate::proto::ip::route::{RouteSpec, RouteTarget};
use crate::proto::{Error, Stack};

/// A route, as it is written: destinations, and where they are reached.
///
/// ```
/// use tunstack::net::RouteConfig;
///
/// let route: RouteConfig = "10.0.0.0/8,via=10.1.0.2,dev=tun0,metric=5".parse().unwrap();
/// assert_eq!((route.dev.as_deref(), route.metric), (Some("tun0"), 5));
/// assert_eq!(route.to_string(), "10.0.0.0/8,via=10.1.0.2,dev=tun0,metric=5");
/// let error = "10.0.0.0/8,metrc=5".parse::<RouteConfig>().unwrap_err();
/// assert!(error.to_string().contains("metric=5"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteConfig {
    /// The destinations: `0.0.0.0/0` and `::/0` are all of a family. Host bits do not count.
    pub destination: IpNet,
    /// The router that leads there; it names the device, too, if a network of that device holds it.
    pub via: Option<IpAddr>,
    /// The name of the device that leads there. A stack that has one device needs no name for it.
    pub dev: Option<String>,
    /// Among routes to the same destinations the one with the lowest metric is taken.
    pub metric: u32,
    /// The source address of packets that the stack itself sends this way.
    pub src: Option<IpAddr>,
    /// What becomes of the packets.
    pub kind: RouteKind,
}

/// What becomes of packets that take a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// They go there.
    #[default]
    Unicast,
    /// They vanish without a word.
    Blackhole,
    /// Senders hear that the host is unreachable.
    Unreachable,
    /// Senders hear that it is prohibited.
    Prohibit,
}

/// A text that is no route, and one that would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {text:?}: {why}")]
pub struct RouteSyntaxError {
    text: String,
    why: String,
}

/// Why a stack can't have a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No device of the stack has this name.
    #[error("route {route}: the stack has no device {name}, only {}", devices.join(" and "))]
    NoSuchDevice {
        /// The route.
        route: Box<RouteConfig>,
        /// The name.
        name: String,
        /// The names there are.
        devices: Vec<String>,
    },
    /// The route says neither device nor router, and there are several devices.
    #[error("route {route}: by which of the devices? Say it as in `{route},dev={}`", devices.first().map_or("tun0", String::as_str))]
    WhichDevice {
        /// The route.
        route: Box<RouteConfig>,
        /// The names there are.
        devices: Vec<String>,
    },
    /// No device leads to the router without another router.
    #[error(
        "route {route}: no device of the stack leads to the router {via}: give one an address in its network, or \
         route it first, as in `{},dev=NAME`", IpNet::from(*via)
    )]
    NoWayToRouter {
        /// The route.
        route: Box<RouteConfig>,
        /// The router.
        via: IpAddr,
    },
    /// The stack has a route to the same destinations with the same metric.
    #[error("route {route}: there is one to {} with metric {} already; give it another, as in `metric={}`",
        route.destination, route.metric, route.metric.wrapping_add(10))]
    Exists {
        /// The route.
        route: Box<RouteConfig>,
    },
    /// The source isn't an address of the stack's.
    #[error("route {route}: {src} is not an address of the stack")]
    ForeignSource {
        /// The route.
        route: Box<RouteConfig>,
        /// The source.
        src: IpAddr,
    },
    /// The stack refuses it for another reason.
    #[error("route {route}: the stack can't have it: {error}")]
    Refused {
        /// The route.
        route: Box<RouteConfig>,
        /// What the stack said.
        error: Error,
    },
}

impl RouteConfig {
    /// A route with metric 0 that says no more than the destination.
    pub fn to(destination: IpNet) -> Self {
        RouteConfig { destination, via: None, dev: None, metric: 0, src: None, kind: RouteKind::Unicast }
    }

    /// Gives the route to a stack that has these devices.
    pub(super) fn add_to(&self, stack: &mut Stack, devices: &[Known]) -> Result<(), RouteError> {
        let spec = self.spec(devices)?;
        let route = Box::new(self.clone());
        stack.add_route(spec).map_err(|error| match (error, self.via, self.src) {
            (Error::AlreadyExists, _, _) => RouteError::Exists { route },
            (Error::NetworkUnreachable, Some(via), _) => RouteError::NoWayToRouter { route, via },
            (Error::InvalidInput, None, Some(src)) => RouteError::ForeignSource { route, src },
            (error, _, _) => RouteError::Refused { route, error },
        })
    }

    /// The route as the core has it.
    pub(super) fn spec(&self, devices: &[Known]) -> Result<RouteSpec, RouteError> {
        Ok(RouteSpec {
            destination: self.destination,
            target: self.target(devices)?,
            metric: self.metric,
            source: self.src,
        })
    }

    fn target(&self, devices: &[Known]) -> Result<RouteTarget, RouteError> {
        match self.kind {
            RouteKind::Blackhole => return Ok(RouteTarget::Blackhole),
            RouteKind::Unreachable => return Ok(RouteTarget::Unreachable),
            RouteKind::Prohibit => return Ok(RouteTarget::Prohibit),
            RouteKind::Unicast => {}
        }
        let names = || devices.iter().map(|device| device.name.clone()).collect();
        let named = match &self.dev {
            Some(name) => {
                let device = devices.iter().find(|device| device.name == *name);
                Some(device.ok_or_else(|| RouteError::NoSuchDevice {
                    route: Box::new(self.clone()),
                    name: name.clone(),
                    devices: names(),
                })?)
            }
            None => None,
        };
        match (self.via, named, devices) {
            (Some(via), named, _) => Ok(RouteTarget::Gateway { via, device: named.map(|device| device.id) }),
            (None, Some(device), _) | (None, None, [device]) => Ok(RouteTarget::Interface(device.id)),
            (None, None, _) => {
                Err(RouteError::WhichDevice { route: Box::new(self.clone()), devices: names() })
            }
        }
    }

    /// The route that the core has.
    pub(super) fn of(spec: &RouteSpec, devices: &[Known]) -> Self {
        let name = |id| devices.iter().find(|device| device.id == id).map(|device| device.name.clone());
        let route =
            RouteConfig { metric: spec.metric, src: spec.source, ..RouteConfig::to(spec.destination) };
        match spec.target {
            RouteTarget::Interface(device) => RouteConfig { dev: name(device), ..route },
            RouteTarget::Gateway { via, device } => {
                RouteConfig { via: Some(via), dev: device.and_then(name), ..route }
            }
            RouteTarget::Blackhole => RouteConfig { kind: RouteKind::Blackhole, ..route },
            RouteTarget::Unreachable => RouteConfig { kind: RouteKind::Unreachable, ..route },
            RouteTarget::Prohibit => RouteConfig { kind: RouteKind::Prohibit, ..route },
        }
    }

    fn set(&mut self, part: &str) -> Result<(), String> {
        let Some((key, value)) = part.split_once('=') else {
            return Err(format!(
                "{part:?} is not of the form NAME=VALUE, such as `via=10.1.0.2` or `dev=tun0`"
            ));
        };
        match key {
            "via" => self.via = Some(self.address(key, value)?),
            "src" => self.src = Some(self.address(key, value)?),
            "dev" if value.is_empty() => {
                return Err("`dev=` names no device; write it like `dev=tun0`".into());
            }
            "dev" => self.dev = Some(value.to_owned()),
            "metric" => {
                self.metric = value.parse().map_err(|_| {
                    format!("{value:?} is not a metric from 0 to {}; write it like `metric=5`", u32::MAX)
                })?;
            }
            "type" => self.kind = kind(value)?,
            _ => {
                return Err(format!(
                    "{key:?} is none of via, dev, metric, src and type; write it like \
                     `{},via={},dev=tun0,metric=5`",
                    self.destination,
                    self.some_address()
                ));
            }
        }
        Ok(())
    }

    fn address(&self, key: &str, value: &str) -> Result<IpAddr, String> {
        let address: IpAddr = value.parse().map_err(|_| {
            format!("{value:?} is not an address; write it like `{key}={}`", self.some_address())
        })?;
        if address.is_ipv4() != self.destination.addr().is_ipv4() {
            return Err(format!(
                "{address} is not of the family of {}; write it like `{key}={}`",
                self.destination,
                self.some_address()
            ));
        }
        Ok(address)
    }

    /// An address of the right family, for examples.
    fn some_address(&self) -> &'static str {
        if self.destination.addr().is_ipv4() { "10.1.0.2" } else { "fd01::2" }
    }

    fn check(&self) -> Result<(), String> {
        if self.kind != RouteKind::Unicast && (self.via.is_some() || self.dev.is_some()) {
            return Err(format!(
                "packets that go nowhere go by no router and no device; write it like `{},type={}`",
                self.destination,
                self.kind.name()
            ));
        }
        Ok(())
    }
}

impl RouteKind {
    fn name(self) -> &'static str {
        match self {
            RouteKind::Unicast => "unicast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
        }
    }
}

fn kind(value: &str) -> Result<RouteKind, String> {
    let all = [RouteKind::Unicast, RouteKind::Blackhole, RouteKind::Unreachable, RouteKind::Prohibit];
    all.into_iter().find(|kind| kind.name() == value).ok_or_else(|| {
        format!("{value:?} is none of blackhole, unreachable and prohibit; write it like `type=blackhole`")
    })
}

impl FromStr for RouteConfig {
    type Err = RouteSyntaxError;

    fn from_str(text: &str) -> Result<Self, RouteSyntaxError> {
        let fail = |why| RouteSyntaxError { text: text.to_owned(), why };
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let destination = first.parse().map_err(|_| {
            fail(format!(
                "{first:?} is not a network; write it like `10.0.0.0/8` or `0.0.0.0/0,via=10.1.0.2`"
            ))
        })?;
        let mut route = RouteConfig::to(destination);
        let mut seen: Vec<&str> = Vec::new();
        for part in parts {
            let key = part.split('=').next().unwrap_or_default();
            if seen.contains(&key) {
                return Err(fail(format!("`{key}=` stands in it twice; give it once")));
            }
            seen.push(key);
            route.set(part).map_err(fail)?;
        }
        route.check().map_err(fail)?;
        Ok(route)
    }
}

impl fmt::Display for RouteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(via) = self.via {
            write!(f, ",via={via}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, ",dev={dev}")?;
        }
        if self.metric != 0 {
            write!(f, ",metric={}", self.metric)?;
        }
        if let Some(src) = self.src {
            write!(f, ",src={src}")?;
        }
        match self.kind {
            RouteKind::Unicast => Ok(()),
            kind => write!(f, ",type={}", kind.name()),
        }
    }
}

/// What can be read as a route.
pub trait IntoRoute {
    /// The route, or what is wrong with the text.
    fn into_route(self) -> Result<RouteConfig, RouteSyntaxError>;
}

impl IntoRoute for RouteConfig {
    fn into_route(self) -> Result<RouteConfig, RouteSyntaxError> {
        Ok(self)
    }
}

impl IntoRoute for IpNet {
    fn into_route(self) -> Result<RouteConfig, RouteSyntaxError> {
        Ok(RouteConfig::to(self))
    }
}

impl IntoRoute for &str {
    fn into_route(self) -> Result<RouteConfig, RouteSyntaxError> {
        self.parse()
    }
}

impl IntoRoute for String {
    fn into_route(self) -> Result<RouteConfig, RouteSyntaxError> {
        self.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DeviceId;
    use proptest::prelude::*;

    fn said(text: &str) -> String {
        text.parse::<RouteConfig>().unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_route_is_said_with_one_that_is() {
        insta::assert_snapshot!(
            [
                said("10.0.0.0"),
                said("10.0.0.0/8,"),
                said("10.0.0.0/8,via=nobody"),
                said("10.0.0.0/8,via=fd01::2"),
                said("fd00::/8,src=10.1.0.1"),
                said("10.0.0.0/8,dev="),
                said("10.0.0.0/8,metric=-1"),
                said("10.0.0.0/8,gw=10.1.0.2"),
                said("10.0.0.0/8,type=dark"),
                said("10.0.0.0/8,type=prohibit,dev=tun0"),
                said("10.0.0.0/8,metric=1,metric=2"),
            ]
            .join("\n")
        );
    }

    fn devices() -> Vec<Known> {
        let known = |name: &str, id| Known {
            name: name.to_owned(),
            id: DeviceId(id),
            addresses: Vec::new(),
            host_addresses: Vec::new(),
        };
        vec![known("a", 0), known("b", 1)]
    }

    #[test]
    fn a_route_finds_its_device_by_name_or_as_the_only_one() {
        let target = |text: &str, devices: &[Known]| text.parse::<RouteConfig>().unwrap().target(devices);
        let both = devices();
        assert_eq!(target("10.0.0.0/8,dev=b", &both), Ok(RouteTarget::Interface(DeviceId(1))));
        assert_eq!(target("10.0.0.0/8", &both[..1]), Ok(RouteTarget::Interface(DeviceId(0))));
        let via = "10.1.0.2".parse().unwrap();
        assert_eq!(target("10.0.0.0/8,via=10.1.0.2", &both), Ok(RouteTarget::Gateway { via, device: None }));
        assert_eq!(target("10.0.0.0/8,type=blackhole", &both), Ok(RouteTarget::Blackhole));
        let which = target("10.0.0.0/8", &both).unwrap_err().to_string();
        assert!(which.ends_with("`10.0.0.0/8,dev=a`"), "{which}");
        let nobody = target("10.0.0.0/8,dev=c", &both).unwrap_err().to_string();
        assert!(nobody.ends_with("no device c, only a and b"), "{nobody}");
    }

    fn any_route() -> impl Strategy<Value = RouteConfig> {
        let v4 = (any::<[u8; 4]>(), 0..=32_u8, any::<[u8; 4]>())
            .prop_map(|(net, len, host)| (IpNet::new_assert(net.into(), len), IpAddr::from(host)));
        let v6 = (any::<[u8; 16]>(), 0..=128_u8, any::<[u8; 16]>())
            .prop_map(|(net, len, host)| (IpNet::new_assert(net.into(), len), IpAddr::from(host)));
        let parts = (prop_oneof![v4, v6], any::<(bool, bool)>(), 0..2_usize, any::<u32>(), 0..4_usize);
        parts.prop_map(|((destination, host), (via, src), dev, metric, kind)| {
            let kind =
                [RouteKind::Unicast, RouteKind::Blackhole, RouteKind::Unreachable, RouteKind::Prohibit][kind];
            let goes = kind == RouteKind::Unicast;
            RouteConfig {
                destination,
                via: (via && goes).then_some(host),
                dev: goes.then(|| devices()[dev].name.clone()),
                metric,
                src: src.then_some(host),
                kind,
            }
        })
    }

    proptest! {
        #[test]
        fn a_route_reads_back_as_it_was_written(route in any_route()) {
            prop_assert_eq!(&route.to_string().parse::<RouteConfig>().unwrap(), &route);
            let spec = route.spec(&devices()).unwrap();
            prop_assert_eq!(RouteConfig::of(&spec, &devices()), route);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[0-9a-f./:,=viadevmtrcsp ]{0,60}") {
            let _ = text.parse::<RouteConfig>();
        }
    }
}
