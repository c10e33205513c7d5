//! Paths between stacks, with everything that can go wrong on them, and whole networks of them in virtual time.
//!
//! Owns one direction of a path ([`Link`]) and the faults it may have ([`LinkConfig`], [`Loss`]). It has no clock and no
//! thread: whoever drives it says what time it is, so the same path runs in virtual time in a test and in real time
//! between two devices. Randomness comes from a seed: the same seed, packets and times give the same faults.
//!
//! It acts on packets of a wire. Who has super-segments, too, takes a link of [`Frame`]s, which are cut before anything but
//! time meets them.
//!
//! A [`Network`] is nodes joined by such paths, under one virtual clock: an hour of it takes seconds, and its nodes can be
//! stacks of ours ([`StackNode`]) or anything else that takes packets and sends some ([`Node`]).

mod coalesce;
mod frame;
mod link;
mod loss;
mod mark;
mod network;
mod stack_node;

pub use self::frame::Frame;
pub use self::link::{Link, LinkConfig, LinkCounters};
pub use self::loss::{GilbertElliott, Loss, LossModel, Ppm};
pub use self::network::{CableId, Direction, Fate, Network, Node, NodeId, Port, Sight, Watch};
pub use self::stack_node::StackNode;
