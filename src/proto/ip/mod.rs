//! The network layer: interfaces, addresses, routes; what comes in is validated, what goes out is routed.
//!
//! | file | holds | RFC |
//! |---|---|---|
//! | `address` | what kind of address it is | 1122 3.2.1.3, 4291 |
//! | `interface` | interfaces and our addresses | 1122 3.3.4 |
//! | `sieve` | most addresses told at once from ours | |
//! | `source` | which of our addresses a packet is sent from | 6724 |
//! | [`route`] | the routing table | 1122 3.3.1 |
//! | `datagram` | what has passed validation | |
//! | [`input`] | what comes in: validation | 791, 1122 3.2.1, 8200 |
//! | `forward` | what goes on to somebody else | 1812 5, 8200 |
//! | `options` | what is written into options of IPv4 | 791 3.1, 1812 5.3.13 |
//! | [`segment`] | super-segments cut, checksums completed | 9293, 768 |
//! | [`icmp`] | echo answered, errors sent and received | 792, 1122 3.2.2, 4443 |
//! | `limiter` | how many errors are sent | 1812 4.3.2.8 |
//! | `ident` | IPv4 identification | 6864, 7739 |
//! | `flow` | flow labels of IPv6 | 6437 |
//! | `layer` | all of it, as one: what the others ask | |
//! | `output` | what goes out: building and queueing | 6864 |
//! | `reassembly` | parts of datagrams until they are whole | 791, 815, 5722, 8200 4.5 |
//! | `pmtu` | the MTU of paths | 1191, 8201 |
//! | `sent_log` | proof that a quoted packet is one of ours | 5927 |
//! | `fragment` | datagrams cut into parts that fit a link | 791, 8200 4.5 |
//! | `burst` | datagrams joined into super-datagrams | |
//! | [`outbox`] | small packets waiting for a device | |

pub(crate) mod address;
pub(crate) mod burst;
pub(crate) mod datagram;
pub(crate) mod flow;
pub(crate) mod forward;
pub(crate) mod fragment;
pub mod icmp;
pub(crate) mod ident;
pub mod input;
pub(crate) mod interface;
pub(crate) mod layer;
pub(crate) mod limiter;
pub(crate) mod options;
pub mod outbox;
pub(crate) mod output;
pub(crate) mod pmtu;
pub(crate) mod reassembly;
pub mod route;
pub mod segment;
pub(crate) mod sent_log;
mod sieve;
pub(crate) mod source;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use burst::SEGMENTS_MAX;
pub(crate) use datagram::{Accepted, Part};
pub use datagram::{Cast, Datagram};
pub use layer::{Layer, Route};
pub(crate) use output::{
    LeftToDevice, Room, fragmentable, ident_of, note_sent, room_for_all, room_for_application,
    room_for_super, send, send_admitted, send_super_datagram, send_unsummed, send_whole, try_send,
    try_send_with_options,
};
