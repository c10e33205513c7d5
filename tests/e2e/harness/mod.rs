//! What the tests stand on: a namespace each, child processes that don't outlive it, the daemon, the library.

mod daemon;
mod library;
mod network;
mod process;
mod python;
mod sandbox;
mod transfer;

pub(crate) use daemon::{Daemon, STOP, example, tunstack, up_fails};
pub(crate) use library::{Opener, all_gone, net, pair, pair_over, short_time_wait};
pub(crate) use network::{Host, Router, Sides, cable, make_tun};
pub(crate) use process::{Ended, Process, eventually, run, run_with_input, sh};
pub(crate) use python::python;
pub(crate) use sandbox::{SKIP, in_namespace, in_namespace_for};
pub(crate) use transfer::{Hash, exchange, fill, receive, send};
