//! The TCP endpoint (skeleton).
use core::net::SocketAddr;

use super::{SocketOptions, TcpId, TcpInfo};
use super::listener::ListenerId;
use crate::proto::config::{Config, Secrets};
use crate::proto::context::{Context, TimerKey};
use crate::proto::counters::DropReason;
use crate::proto::error::Error;
use crate::proto::events::Owner;
use crate::proto::ip::Datagram;
use crate::proto::ip::icmp::IcmpError;
use crate::proto::packet::PacketSink;
use crate::proto::stack::{Progress, Shutdown};

#[derive(Debug)]
pub(crate) struct Endpoint {}

impl Endpoint {
    pub(crate) fn new(config: &Config, secrets: &Secrets) -> Self { todo!() }
    pub(crate) fn listen(&mut self, ctx: &mut Context<'_>, local: SocketAddr, backlog: Option<usize>, owner: Owner) -> Result<ListenerId, Error> { todo!() }
    pub(crate) fn listener_options(&self, id: ListenerId) -> Result<SocketOptions, Error> { todo!() }
    pub(crate) fn set_listener_options(&mut self, id: ListenerId, options: SocketOptions) -> Result<(), Error> { todo!() }
    pub(crate) fn listener_addr(&self, id: ListenerId) -> Result<SocketAddr, Error> { todo!() }
    pub(crate) fn accept(&mut self, ctx: &mut Context<'_>, id: ListenerId) -> Result<(TcpId, SocketAddr), Error> { todo!() }
    pub(crate) fn close_listener(&mut self, ctx: &mut Context<'_>, id: ListenerId) { todo!() }
    pub(crate) fn connect(&mut self, ctx: &mut Context<'_>, local: Option<SocketAddr>, remote: SocketAddr, options: Option<SocketOptions>, owner: Owner) -> Result<TcpId, Error> { todo!() }
    pub(crate) fn connect_result(&mut self, id: TcpId) -> Result<(), Error> { todo!() }
    pub(crate) fn read(&mut self, ctx: &mut Context<'_>, id: TcpId, out: &mut [u8], peek: bool) -> Result<usize, Error> { todo!() }
    pub(crate) fn write(&mut self, ctx: &mut Context<'_>, id: TcpId, data: &[u8], urgent: bool) -> Result<usize, Error> { todo!() }
    pub(crate) fn shutdown(&mut self, ctx: &mut Context<'_>, id: TcpId, how: Shutdown) -> Result<(), Error> { todo!() }
    pub(crate) fn close(&mut self, ctx: &mut Context<'_>, id: TcpId) { todo!() }
    pub(crate) fn abort(&mut self, ctx: &mut Context<'_>, id: TcpId) { todo!() }
    pub(crate) fn options(&self, id: TcpId) -> Result<SocketOptions, Error> { todo!() }
    pub(crate) fn set_options(&mut self, ctx: &mut Context<'_>, id: TcpId, options: SocketOptions) -> Result<(), Error> { todo!() }
    pub(crate) fn local_addr(&self, id: TcpId) -> Result<SocketAddr, Error> { todo!() }
    pub(crate) fn peer_addr(&self, id: TcpId) -> Result<SocketAddr, Error> { todo!() }
    pub(crate) fn take_error(&mut self, id: TcpId) -> Result<Option<Error>, Error> { todo!() }
    pub(crate) fn info(&self, id: TcpId) -> Result<TcpInfo, Error> { todo!() }
    pub(crate) fn unfinished(&self) -> usize { todo!() }
    pub(crate) fn abort_all(&mut self, ctx: &mut Context<'_>) { todo!() }
    pub(crate) fn census(&self) -> super::super::stack::TcpCensus { todo!() }
    pub(crate) fn receive(&mut self, ctx: &mut Context<'_>, datagram: &Datagram<'_>) -> Result<(), DropReason> { todo!() }
    pub(crate) fn icmp_error(&mut self, ctx: &mut Context<'_>, error: &IcmpError) -> Result<(), DropReason> { todo!() }
    pub(crate) fn timer(&mut self, ctx: &mut Context<'_>, key: TimerKey) { todo!() }
    pub(crate) fn deadline(&self) -> Option<crate::time::Instant> { todo!() }

    pub(crate) fn wants_transmit(&self) -> bool { todo!() }
    pub(crate) fn transmit(&mut self, ctx: &mut Context<'_>, sink: &mut dyn PacketSink) -> Progress { todo!() }
}
