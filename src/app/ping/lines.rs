//! The words of ping: its first line, a line for each answer and one for each error, letter by letter those of
//! iputils, so that whatever reads the one reads the other.

use std::net::IpAddr;
use std::time::Duration;

use crate::proto::ip::icmp::IcmpErrorKind;

/// Bytes of an ICMP header.
const ICMP_HEADER: usize = 8;
/// Bytes of an IPv4 header without options.
const IPV4_HEADER: usize = 20;

/// The first line: `name` as it was asked for, the address it stands for, bytes of data.
pub(super) fn first(name: &str, to: IpAddr, size: usize) -> String {
    match to {
        IpAddr::V4(_) => {
            format!("PING {name} ({to}) {size}({}) bytes of data.", size + ICMP_HEADER + IPV4_HEADER)
        }
        IpAddr::V6(_) => format!("PING {name}({to}) {size} data bytes"),
    }
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) from: IpAddr,
    pub(super) seq: u16,
    pub(super) hop_limit: u8,
    pub(super) took: Duration,
    /// The bytes that came back, and those that were sent.
    pub(super) data: &'a [u8],
    pub(super) sent: &'a [u8],
    pub(super) is_repeat: bool,
}

impl Answer<'_> {
    /// The line that tells of it.
    pub(super) fn line(&self) -> String {
        let Answer { from, seq, hop_limit, .. } = self;
        let len = self.data.len() + ICMP_HEADER;
        let mut line = format!("{len} bytes from {from}: icmp_seq={seq} ttl={hop_limit}");
        if self.data.len() < self.sent.len() {
            return line + " (truncated)";
        }
        line += &format!(" time={} ms", time(self.took));
        if self.is_repeat {
            line += " (DUP!)";
        }
        let wrong = self.data.iter().zip(self.sent).position(|(came, sent)| came != sent);
        if let Some((at, (came, sent))) =
            wrong.and_then(|at| Some((at, (self.data.get(at)?, self.sent.get(at)?))))
        {
            line += &format!("\nwrong data byte #{at} should be 0x{sent:x} but was 0x{came:x}");
        }
        line
    }
}

/// The line that tells of an ICMP error.
pub(super) fn error(offender: IpAddr, seq: u16, kind: IcmpErrorKind, type_code: (u8, u8)) -> String {
    let mtu = match kind {
        IcmpErrorKind::PacketTooBig(mtu) => mtu,
        IcmpErrorKind::NetworkUnreachable
        | IcmpErrorKind::HostUnreachable
        | IcmpErrorKind::ProtocolUnreachable
        | IcmpErrorKind::PortUnreachable
        | IcmpErrorKind::Prohibited
        | IcmpErrorKind::TimeExceeded
        | IcmpErrorKind::ParameterProblem
        | IcmpErrorKind::SourceQuench
        | IcmpErrorKind::Other => 0,
    };
    let what = match offender {
        IpAddr::V4(_) => icmp(type_code, mtu),
        IpAddr::V6(_) => icmpv6(type_code, mtu),
    };
    format!("From {offender} icmp_seq={seq} {what}")
}

/// Microseconds as milliseconds, always in three decimals.
pub(super) fn millis(micros: u64) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

/// A time as milliseconds with three digits or more, rounded.
fn time(took: Duration) -> String {
    let micros = took.as_micros();
    match micros {
        0..1_000 => format!("0.{micros:03}"),
        1_000..9_995 => format!("{}.{:02}", (micros + 5) / 1000, (micros + 5) % 1000 / 10),
        9_995..99_950 => format!("{}.{}", (micros + 50) / 1000, (micros + 50) % 1000 / 100),
        _ => ((micros + 500) / 1000).to_string(),
    }
}

/// RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1.
fn icmp(type_code: (u8, u8), mtu: u32) -> String {
    let words = match type_code {
        (3, 0) => "Destination Net Unreachable",
        (3, 1) => "Destination Host Unreachable",
        (3, 2) => "Destination Protocol Unreachable",
        (3, 3) => "Destination Port Unreachable",
        (3, 4) => return format!("Frag needed and DF set (mtu = {mtu})"),
        (3, 5) => "Source Route Failed",
        (3, 6) => "Destination Net Unknown",
        (3, 7) => "Destination Host Unknown",
        (3, 8) => "Source Host Isolated",
        (3, 9) => "Destination Net Prohibited",
        (3, 10) => "Destination Host Prohibited",
        (3, 11) => "Destination Net Unreachable for Type of Service",
        (3, 12) => "Destination Host Unreachable for Type of Service",
        (3, 13) => "Packet filtered",
        (3, 14) => "Precedence Violation",
        (3, 15) => "Precedence Cutoff",
        (3, code) => return format!("Dest Unreachable, Bad Code: {code}"),
        (4, _) => "Source Quench",
        (11, 0) => "Time to live exceeded",
        (11, 1) => "Frag reassembly time exceeded",
        (11, code) => return format!("Time exceeded, Bad Code: {code}"),
        (12, _) => "Parameter problem",
        (kind, _) => return format!("Bad ICMP type: {kind}"),
    };
    words.to_owned()
}

/// RFC 4443 section 3.
fn icmpv6(type_code: (u8, u8), mtu: u32) -> String {
    let words = match type_code {
        (1, 0) => "Destination unreachable: No route",
        (1, 1) => "Destination unreachable: Administratively prohibited",
        (1, 2) => "Destination unreachable: Beyond scope of source address",
        (1, 3) => "Destination unreachable: Address unreachable",
        (1, 4) => "Destination unreachable: Port unreachable",
        (1, code) => return format!("Destination unreachable: Unknown code {code}"),
        (2, _) => return format!("Packet too big: mtu={mtu}"),
        (3, 0) => "Time exceeded: Hop limit",
        (3, 1) => "Time exceeded: Defragmentation failure",
        (3, code) => return format!("Time exceeded: code {code}"),
        (4, 0) => "Parameter problem: Wrong header field",
        (4, 1) => "Parameter problem: Unknown header",
        (4, 2) => "Parameter problem: Unknown option",
        (4, code) => return format!("Parameter problem: code {code}"),
        (kind, _) => return format!("unknown icmp type: {kind}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_line_is_pings_in_either_family() {
        assert_eq!(first("10.9.0.2", ip("10.9.0.2"), 56), "PING 10.9.0.2 (10.9.0.2) 56(84) bytes of data.");
        assert_eq!(first("fd09::2", ip("fd09::2"), 1452), "PING fd09::2(fd09::2) 1452 data bytes");
    }

    #[test]
    fn an_answer_is_told_with_what_is_odd_about_it() {
        let answer = Answer {
            from: ip("10.9.0.2"),
            seq: 1,
            hop_limit: 64,
            took: Duration::from_micros(97),
            data: &[0, 1, 2],
            sent: &[0, 1, 2],
            is_repeat: false,
        };
        assert_eq!(answer.line(), "11 bytes from 10.9.0.2: icmp_seq=1 ttl=64 time=0.097 ms");
        let again = Answer { is_repeat: true, ..answer };
        assert_eq!(again.line(), "11 bytes from 10.9.0.2: icmp_seq=1 ttl=64 time=0.097 ms (DUP!)");
        let short = Answer { data: &[0, 1], ..answer };
        assert_eq!(short.line(), "10 bytes from 10.9.0.2: icmp_seq=1 ttl=64 (truncated)");
        let wrong = Answer { data: &[0, 0xff, 2], ..answer };
        assert!(
            wrong.line().ends_with("\nwrong data byte #1 should be 0x1 but was 0xff"),
            "{}",
            wrong.line()
        );
    }

    #[test]
    fn times_have_three_digits_or_more_and_are_rounded() {
        let said = |micros| time(Duration::from_micros(micros));
        for (micros, text) in [
            (0, "0.000"),
            (58, "0.058"),
            (999, "0.999"),
            (1_000, "1.00"),
            (1_234, "1.23"),
            (1_235, "1.24"),
            (9_994, "9.99"),
            (9_995, "10.0"),
            (12_349, "12.3"),
            (99_949, "99.9"),
            (99_950, "100"),
            (1_234_567, "1235"),
        ] {
            assert_eq!(said(micros), text, "{micros}");
        }
        assert_eq!(millis(1_234_567), "1234.567");
        assert_eq!(millis(7), "0.007");
    }

    #[test]
    fn errors_are_told_in_pings_words() {
        let big = IcmpErrorKind::PacketTooBig(1400);
        let other = IcmpErrorKind::HostUnreachable;
        let four = |type_code, kind| error(ip("10.1.0.1"), 7, kind, type_code);
        assert_eq!(four((11, 0), other), "From 10.1.0.1 icmp_seq=7 Time to live exceeded");
        assert_eq!(four((3, 1), other), "From 10.1.0.1 icmp_seq=7 Destination Host Unreachable");
        assert_eq!(four((3, 4), big), "From 10.1.0.1 icmp_seq=7 Frag needed and DF set (mtu = 1400)");
        assert_eq!(four((3, 99), other), "From 10.1.0.1 icmp_seq=7 Dest Unreachable, Bad Code: 99");
        let six = |type_code, kind| error(ip("fd01::1"), 7, kind, type_code);
        assert_eq!(six((2, 0), big), "From fd01::1 icmp_seq=7 Packet too big: mtu=1400");
        assert_eq!(six((3, 0), other), "From fd01::1 icmp_seq=7 Time exceeded: Hop limit");
        assert_eq!(six((1, 0), other), "From fd01::1 icmp_seq=7 Destination unreachable: No route");
    }
}
