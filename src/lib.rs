//! tunstack: a TCP/IP stack that lives in a process and speaks IP through a Linux TUN device.
//!
//! The crate has three floors, and dependencies point one way only, downwards:
//!
//! - [`net`] — sockets in the manner of [`std::net`], on a stack that runs on a thread of its own;
//! - `runtime` and [`device`] — the loop that joins clock, device and core;
//! - [`proto`] — the protocol core: pure, `no_std`, without a clock, lock, thread or file.
//!
//! Beside them stands `sim` (feature `sim`): paths between stacks with everything that can go wrong on them, in virtual
//! time or real.
//!
//! Start with [`net::Net`] to run a network of your own, or with [`proto::Stack`] to drive the core by
//! hand (in virtual time, in a test, inside another event loop).
// Unit tests may use std in any case: they are part of no build.
#![cfg_attr(not(any(feature = "std", test)), no_std)]

extern crate alloc;

pub mod proto;
pub mod rng;
#[cfg(feature = "sim")]
pub mod sim;
pub mod time;

#[cfg(feature = "std")]
pub mod device;
#[cfg(feature = "std")]
pub mod net;
#[cfg(feature = "std")]
pub mod runtime;

#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod app;

pub use bytes;
pub use ipnet;

/// The README's example must compile.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
