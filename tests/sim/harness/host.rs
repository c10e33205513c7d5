//! What stands at an end of a network: our stack, or another one, behind the same few verbs.

use std::net::{IpAddr, SocketAddr};

use tunstack::sim::Node;
use tunstack::time::Instant;

use super::ours::OurHost;

/// Names a connection of a host.
pub(crate) type Conn = usize;

/// How far a read, write or open came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Io {
    /// So many bytes; a read of 0 is the end of the stream.
    Done(usize),
    Block,
    Failed(String),
}

/// A host in virtual time.
pub(crate) trait Host: Node {
    fn ip(&self) -> IpAddr;
    fn listen(&mut self, now: Instant, port: u16);
    fn accept(&mut self, now: Instant) -> Option<Conn>;
    /// Opens a connection, as far as that can be begun.
    fn connect(&mut self, now: Instant, remote: SocketAddr) -> Option<Conn>;
    fn opened(&mut self, conn: Conn) -> Io;
    fn local_port(&self, conn: Conn) -> u16;
    /// Whom it is connected with; nobody if it is over.
    fn peer(&self, conn: Conn) -> Option<SocketAddr>;
    fn write(&mut self, now: Instant, conn: Conn, data: &[u8]) -> Io;
    fn read(&mut self, now: Instant, conn: Conn, out: &mut [u8]) -> Io;
    /// No more will be written. `false` if the connection is over.
    fn finish(&mut self, now: Instant, conn: Conn) -> bool;
    /// The application has no more use for the connection.
    fn release(&mut self, now: Instant, conn: Conn);
    /// The application throws the connection away.
    fn abort(&mut self, now: Instant, conn: Conn);
    fn close_listener(&mut self, now: Instant);
    fn udp_bind(&mut self, now: Instant, port: u16);
    fn udp_send(&mut self, now: Instant, to: SocketAddr, data: &[u8]) -> bool;
    fn udp_recv(&mut self) -> Option<(Vec<u8>, SocketAddr)>;
    /// What is still there when nothing should be.
    fn left_over(&self) -> Option<String>;
    /// Ours, whose rules the oracles know.
    fn ours(&self) -> Option<&OurHost>;
    /// A few words for a failure.
    fn describe(&self) -> String;
}
