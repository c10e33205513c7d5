//! The list of services to run: `echo:7,discard:9,daytime:13,chargen:19`.

use std::fmt;
use std::str::FromStr;

/// The services there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ServiceKind {
    /// RFC 862.
    Echo,
    /// RFC 863.
    Discard,
    /// RFC 867.
    Daytime,
    /// RFC 864.
    Chargen,
}

impl ServiceKind {
    /// All of them, in the order of their ports.
    pub(crate) const ALL: [ServiceKind; 4] =
        [ServiceKind::Echo, ServiceKind::Discard, ServiceKind::Daytime, ServiceKind::Chargen];

    /// What it is called on the command line and in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ServiceKind::Echo => "echo",
            ServiceKind::Discard => "discard",
            ServiceKind::Daytime => "daytime",
            ServiceKind::Chargen => "chargen",
        }
    }

    /// The port that its RFC gives it.
    pub(crate) fn well_known_port(self) -> u16 {
        match self {
            ServiceKind::Echo => 7,
            ServiceKind::Discard => 9,
            ServiceKind::Daytime => 13,
            ServiceKind::Chargen => 19,
        }
    }
}

/// One service on one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServeEntry {
    /// Which service.
    pub(crate) kind: ServiceKind,
    /// On which port, TCP and UDP.
    pub(crate) port: u16,
}

impl fmt::Display for ServeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.port)
    }
}

/// Services to run, no port twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServeList(Vec<ServeEntry>);

impl ServeList {
    /// The services, in the order given.
    pub(crate) fn entries(&self) -> &[ServeEntry] {
        &self.0
    }

    /// The first port on which a service runs.
    pub(crate) fn port_of(&self, kind: ServiceKind) -> Option<u16> {
        self.0.iter().find(|entry| entry.kind == kind).map(|entry| entry.port)
    }
}

impl Default for ServeList {
    fn default() -> Self {
        let entry = |kind: ServiceKind| ServeEntry { kind, port: kind.well_known_port() };
        ServeList(ServiceKind::ALL.map(entry).to_vec())
    }
}

impl fmt::Display for ServeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let words: Vec<String> = self.0.iter().map(ServeEntry::to_string).collect();
        f.write_str(&words.join(","))
    }
}

/// Why a list of services can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("there is no service '{0}'; try `--serve echo:7,discard:9,daytime:13,chargen:19`")]
    UnknownService(String),
    #[error("'{text}' is not a port between 1 and 65535; try `--serve {service}:{}`", default_port(.service))]
    BadPort { service: String, text: String },
    #[error("port {0} is given twice; give each service a port of its own, as in `--serve echo:7,discard:9`")]
    PortTwice(u16),
    #[error("an entry of the list is empty; try `--serve echo:7`, or `--serve none` for no service")]
    Empty,
}

fn default_port(service: &str) -> u16 {
    kind_named(service).map_or(7, ServiceKind::well_known_port)
}

fn kind_named(name: &str) -> Option<ServiceKind> {
    ServiceKind::ALL.into_iter().find(|kind| kind.name() == name)
}

impl FromStr for ServeList {
    type Err = ServeError;

    /// Reads `NAME[:PORT],...` or `none`; a service without a port gets its RFC's.
    fn from_str(text: &str) -> Result<Self, ServeError> {
        let mut entries: Vec<ServeEntry> = Vec::new();
        if text.trim() == "none" {
            return Ok(ServeList(entries));
        }
        for word in text.split(',').map(str::trim) {
            let entry = parse_entry(word)?;
            if entries.iter().any(|other| other.port == entry.port) {
                return Err(ServeError::PortTwice(entry.port));
            }
            entries.push(entry);
        }
        Ok(ServeList(entries))
    }
}

fn parse_entry(word: &str) -> Result<ServeEntry, ServeError> {
    if word.is_empty() {
        return Err(ServeError::Empty);
    }
    let (name, port) = match word.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (word, None),
    };
    let kind = kind_named(name).ok_or_else(|| ServeError::UnknownService(name.to_owned()))?;
    let port = match port {
        None => kind.well_known_port(),
        Some(text) => match text.parse() {
            Ok(port) if port != 0 => port,
            _ => return Err(ServeError::BadPort { service: name.to_owned(), text: text.to_owned() }),
        },
    };
    Ok(ServeEntry { kind, port })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<String, ServeError> {
        text.parse::<ServeList>().map(|list| list.to_string())
    }

    #[test]
    fn a_list_is_read_and_written_alike() {
        for text in ["echo:7,discard:9,daytime:13,chargen:19", "chargen:1,chargen:2", "echo:65535", "none"] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
        assert_eq!(ServeList::default().to_string(), "echo:7,discard:9,daytime:13,chargen:19");
    }

    #[test]
    fn a_service_without_a_port_gets_its_rfcs_port() {
        assert_eq!(parse("daytime, echo").as_deref(), Ok("daytime:13,echo:7"));
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_reason() {
        assert_eq!(parse("telnet:23"), Err(ServeError::UnknownService("telnet".into())));
        assert_eq!(parse("none,echo"), Err(ServeError::UnknownService("none".into())));
        assert_eq!(parse("echo:7,daytime:7"), Err(ServeError::PortTwice(7)));
        assert_eq!(parse(""), Err(ServeError::Empty));
        assert_eq!(parse("echo:7,"), Err(ServeError::Empty));
        for text in ["0", "65536", "-1", "", "x", "7:8"] {
            let word = format!("echo:{text}");
            assert_eq!(
                parse(&word),
                Err(ServeError::BadPort { service: "echo".into(), text: text.into() }),
                "{word}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_it_gives_back(text in "[a-z:0-9, ]{0,40}") {
            if let Ok(list) = text.parse::<ServeList>() {
                prop_assert_eq!(list.to_string().parse::<ServeList>(), Ok(list));
            }
        }
    }
}
