//! What a datagram socket is told of errors (RFC 1122 section 4.1.3.3; Linux: SO_ERROR and IP_RECVERR).
//!
//! Owns which ICMP error means what, which of them are told to whom, the pending error and the queue of reports.
//! Owns not which ICMP messages are believed (`ip::icmp`).
//!
//! As on Linux: unless asked for more, a socket hears of errors only if it is connected and only if the next
//! datagram will meet with the same; one that has asked hears of all of them, each with who says so.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;

use super::context::Context;
use super::counters::DropReason;
use super::error::Error;
use super::ip::icmp::{IcmpError, IcmpErrorKind};
use super::sending::MtuDiscover;
use crate::time::Instant;

/// One error about a datagram that was sent, or was to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReport {
    /// What a verb would answer because of it.
    pub error: Error,
    /// Whence it comes.
    pub cause: ErrorCause,
    /// Where the datagram was to go. The port is 0 in protocols without ports.
    pub destination: SocketAddr,
    /// What of it is known to fit, in bytes of the whole IP datagram, if it was too large.
    pub mtu: Option<u32>,
    /// The beginning of the datagram's data, as far as the message quotes it (of a raw socket: from the transport
    /// header on).
    pub quoted: ArrayVec<u8, QUOTED_MAX>,
    /// When it came.
    pub at: Instant,
}

/// How much is kept of what an error quotes: enough to tell which of its datagrams a program has sent this was.
pub const QUOTED_MAX: usize = 64;

/// Whence an error comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCause {
    /// From this stack: the datagram never left.
    Local,
    /// From an ICMP message.
    Icmp {
        /// What it says.
        kind: IcmpErrorKind,
        /// Its type and code on the wire, in the family of `offender`.
        type_code: (u8, u8),
        /// Who says so: a router on the way, or the destination.
        offender: IpAddr,
    },
}

/// What of a socket decides whether it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    pub(crate) is_connected: bool,
    /// IP_RECVERR.
    pub(crate) report_errors: bool,
    pub(crate) mtu_discover: MtuDiscover,
}

/// A socket's pending error and its reports.
#[derive(Debug, Default)]
pub(crate) struct SocketErrors {
    /// What the next verb, or `take`, tells; then it is forgotten (SO_ERROR).
    pending: Option<Error>,
    reports: VecDeque<ErrorReport>,
}

impl SocketErrors {
    /// Takes the pending error.
    pub(crate) fn take(&mut self) -> Option<Error> {
        self.pending.take()
    }

    /// Answers with the pending error, once.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        self.pending.take().map_or(Ok(()), Err)
    }

    /// Takes the oldest report. The error of the next one becomes the pending one, as on Linux.
    pub(crate) fn next_report(&mut self) -> Option<ErrorReport> {
        let report = self.reports.pop_front()?;
        let next = self.reports.front().filter(|next| next.cause != ErrorCause::Local);
        if report.cause != ErrorCause::Local || next.is_some() {
            self.pending = next.map(|next| next.error);
        }
        Some(report)
    }

    /// Forgets all reports: nobody wants them any more.
    pub(crate) fn forget_reports(&mut self) {
        self.reports.clear();
    }

    /// Takes an ICMP error about one of the socket's datagrams. `quoted` is what it quotes of the datagram's data.
    ///
    /// # Errors
    /// `IcmpIgnored` if the socket isn't to be told, `ErrorQueueFull`.
    // RFC 1122 section 4.1.3.3: UDP MUST pass to the application layer all ICMP error messages that it receives
    // from the IP layer.
    pub(crate) fn icmp(
        &mut self,
        ctx: &Context,
        error: &IcmpError<'_>,
        listening: Listening,
        quoted: &[u8],
    ) -> Result<(), DropReason> {
        let (told, is_final) = meaning(error, listening.mtu_discover).ok_or(DropReason::IcmpIgnored)?;
        if listening.report_errors {
            if self.reports.len() >= ctx.config.error_reports {
                return Err(DropReason::ErrorQueueFull);
            }
            let IcmpError { kind, type_code, offender, .. } = *error;
            self.reports.push_back(ErrorReport {
                error: told,
                cause: ErrorCause::Icmp { kind, type_code, offender },
                destination: error.remote,
                mtu: mtu(kind),
                quoted: quoted.iter().copied().take(QUOTED_MAX).collect(),
                at: ctx.now,
            });
        } else if !listening.is_connected || !is_final {
            return Err(DropReason::IcmpIgnored);
        }
        //= RFC1122 4.1.3.3 ICMP
        self.pending = Some(told);
        Ok(())
    }

    /// A datagram was too large to be sent: notes so, for who has asked.
    pub(crate) fn too_long(
        &mut self,
        ctx: &Context,
        report_errors: bool,
        destination: SocketAddr,
        mtu: usize,
    ) -> Error {
        let error = Error::MessageTooLong;
        if report_errors && self.reports.len() < ctx.config.error_reports {
            self.reports.push_back(ErrorReport {
                error,
                cause: ErrorCause::Local,
                destination,
                mtu: u32::try_from(mtu).ok(),
                quoted: ArrayVec::new(),
                at: ctx.now,
            });
        }
        error
    }
}

/// The error that an ICMP message is, and whether it is final: whether the next datagram would meet with the same
/// (Linux: `icmp_err_convert`, `icmpv6_err_convert`).
fn meaning(error: &IcmpError<'_>, mtu_discover: MtuDiscover) -> Option<(Error, bool)> {
    let is_v4 = error.remote.is_ipv4();
    let code = error.type_code.1;
    Some(match error.kind {
        IcmpErrorKind::NetworkUnreachable => (Error::NetworkUnreachable, is_v4 && code == 6),
        IcmpErrorKind::HostUnreachable if is_v4 => match code {
            5 => (Error::OperationNotSupported, false),
            7 => (Error::HostDown, true),
            8 => (Error::HostIsolated, true),
            _ => (Error::HostUnreachable, false),
        },
        IcmpErrorKind::HostUnreachable => (Error::HostUnreachable, false),
        IcmpErrorKind::ProtocolUnreachable if is_v4 => (Error::ProtocolUnreachable, true),
        // RFC 4443 knows no such message: it is one of the parameter problems.
        IcmpErrorKind::ProtocolUnreachable => (Error::ProtocolError, true),
        IcmpErrorKind::PortUnreachable => (Error::ConnectionRefused, true),
        IcmpErrorKind::Prohibited if is_v4 && code == 9 => (Error::NetworkUnreachable, true),
        IcmpErrorKind::Prohibited if is_v4 => (Error::HostUnreachable, true),
        IcmpErrorKind::Prohibited => (Error::PermissionDenied, true),
        IcmpErrorKind::PacketTooBig(_) => (Error::MessageTooLong, mtu_discover != MtuDiscover::Dont),
        IcmpErrorKind::TimeExceeded => (Error::HostUnreachable, false),
        IcmpErrorKind::ParameterProblem => (Error::ProtocolError, true),
        // Of ICMPv6 alone: an unknown code of "unreachable" is final, an unknown type isn't.
        IcmpErrorKind::Other => (Error::ProtocolError, error.type_code.0 == 1),
        IcmpErrorKind::SourceQuench => return None,
    })
}

fn mtu(kind: IcmpErrorKind) -> Option<u32> {
    match kind {
        IcmpErrorKind::PacketTooBig(mtu) => Some(mtu),
        IcmpErrorKind::NetworkUnreachable
        | IcmpErrorKind::HostUnreachable
        | IcmpErrorKind::ProtocolUnreachable
        | IcmpErrorKind::PortUnreachable
        | IcmpErrorKind::Prohibited
        | IcmpErrorKind::TimeExceeded
        | IcmpErrorKind::ParameterProblem
        | IcmpErrorKind::Other
        | IcmpErrorKind::SourceQuench => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::config::Config;
    use crate::proto::ip::testing::World;

    fn error(kind: IcmpErrorKind, type_code: (u8, u8)) -> IcmpError<'static> {
        IcmpError {
            kind,
            type_code,
            offender: "10.9.0.1".parse().unwrap(),
            protocol: 17,
            local: "10.9.0.2:7".parse().unwrap(),
            remote: "10.9.0.9:9".parse().unwrap(),
            seq: None,
            transport: &[],
        }
    }

    const ASKED: Listening =
        Listening { is_connected: false, report_errors: true, mtu_discover: MtuDiscover::Want };

    #[test]
    fn reading_a_report_makes_the_next_one_s_error_the_pending_one() {
        let mut world = World::new();
        let mut errors = SocketErrors::default();
        let passing = error(IcmpErrorKind::TimeExceeded, (11, 0));
        let refused = error(IcmpErrorKind::PortUnreachable, (3, 3));
        for told in [passing, refused] {
            errors.icmp(world.ctx(), &told, ASKED, b"data").unwrap();
        }
        errors.too_long(world.ctx(), true, "10.9.0.9:9".parse().unwrap(), 1500);
        let first = errors.next_report().unwrap();
        assert_eq!((first.error, &first.quoted[..]), (Error::HostUnreachable, &b"data"[..]));
        assert_eq!(errors.check(), Err(Error::ConnectionRefused));
        assert_eq!(errors.check(), Ok(()));
        assert_eq!(errors.next_report().map(|report| report.error), Some(Error::ConnectionRefused));
        assert_eq!(errors.take(), None);
        let own = errors.next_report().unwrap();
        assert_eq!((own.error, own.cause, own.mtu), (Error::MessageTooLong, ErrorCause::Local, Some(1500)));
        assert_eq!(errors.next_report(), None);
    }

    #[test]
    fn reports_are_limited_and_what_they_quote_is_cut() {
        let mut world = World::with(Config { error_reports: 2, ..Config::default() });
        let mut errors = SocketErrors::default();
        let told = error(IcmpErrorKind::TimeExceeded, (11, 0));
        for _ in 0..2 {
            assert_eq!(errors.icmp(world.ctx(), &told, ASKED, &[7; 1000]), Ok(()));
        }
        assert_eq!(errors.icmp(world.ctx(), &told, ASKED, &[]), Err(DropReason::ErrorQueueFull));
        errors.too_long(world.ctx(), true, told.remote, 1500);
        assert_eq!(errors.next_report().map(|report| report.quoted.len()), Some(QUOTED_MAX));
        assert!(errors.next_report().is_some());
        assert_eq!(errors.next_report(), None);
    }

    #[test]
    fn too_big_is_no_news_to_who_lets_routers_fragment() {
        let told = error(IcmpErrorKind::PacketTooBig(1300), (3, 4));
        let connected = Listening { is_connected: true, report_errors: false, ..ASKED };
        let (mut world, mut errors) = (World::new(), SocketErrors::default());
        let lets = Listening { mtu_discover: MtuDiscover::Dont, ..connected };
        assert_eq!(errors.icmp(world.ctx(), &told, lets, &[]), Err(DropReason::IcmpIgnored));
        assert_eq!(errors.icmp(world.ctx(), &told, connected, &[]), Ok(()));
        assert_eq!(errors.take(), Some(Error::MessageTooLong));
        assert_eq!(errors.icmp(world.ctx(), &told, lets, &[]), Err(DropReason::IcmpIgnored));
        let asked = Listening { report_errors: true, ..lets };
        assert_eq!(errors.icmp(world.ctx(), &told, asked, &[]), Ok(()));
        assert_eq!(errors.next_report().and_then(|report| report.mtu), Some(1300));
    }

    #[test]
    fn every_code_is_the_error_that_linux_makes_of_it() {
        use Error::*;
        let v4 = |kind, type_code| meaning(&error(kind, type_code), MtuDiscover::Want).unwrap();
        for (code, kind, expected) in [
            (0, IcmpErrorKind::NetworkUnreachable, (NetworkUnreachable, false)),
            (1, IcmpErrorKind::HostUnreachable, (HostUnreachable, false)),
            (2, IcmpErrorKind::ProtocolUnreachable, (ProtocolUnreachable, true)),
            (3, IcmpErrorKind::PortUnreachable, (ConnectionRefused, true)),
            (4, IcmpErrorKind::PacketTooBig(1300), (MessageTooLong, true)),
            (5, IcmpErrorKind::HostUnreachable, (OperationNotSupported, false)),
            (6, IcmpErrorKind::NetworkUnreachable, (NetworkUnreachable, true)),
            (7, IcmpErrorKind::HostUnreachable, (HostDown, true)),
            (8, IcmpErrorKind::HostUnreachable, (HostIsolated, true)),
            (9, IcmpErrorKind::Prohibited, (NetworkUnreachable, true)),
            (10, IcmpErrorKind::Prohibited, (HostUnreachable, true)),
            (11, IcmpErrorKind::NetworkUnreachable, (NetworkUnreachable, false)),
            (12, IcmpErrorKind::HostUnreachable, (HostUnreachable, false)),
            (13, IcmpErrorKind::Prohibited, (HostUnreachable, true)),
        ] {
            assert_eq!(v4(kind, (3, code)), expected, "{code}");
        }
        assert_eq!(v4(IcmpErrorKind::ParameterProblem, (12, 0)), (ProtocolError, true));
        let v6 = |kind, type_code| {
            let remote = "[fd09::9]:9".parse().unwrap();
            meaning(&IcmpError { remote, ..error(kind, type_code) }, MtuDiscover::Want).unwrap()
        };
        assert_eq!(v6(IcmpErrorKind::NetworkUnreachable, (1, 0)), (NetworkUnreachable, false));
        assert_eq!(v6(IcmpErrorKind::Prohibited, (1, 1)), (PermissionDenied, true));
        assert_eq!(v6(IcmpErrorKind::HostUnreachable, (1, 3)), (HostUnreachable, false));
        assert_eq!(v6(IcmpErrorKind::ProtocolUnreachable, (4, 1)), (ProtocolError, true));
        assert_eq!(meaning(&error(IcmpErrorKind::SourceQuench, (4, 0)), MtuDiscover::Want), None);
    }
}
