//! tunstack against the Linux kernel: its ping and sockets, netcat, the lesson's Python programs.
//!
//! Every test runs in a network namespace of its own (see `harness::sandbox`), so none needs root where user
//! namespaces are allowed and none touches anything outside.

mod backlog;
mod bulk;
mod chain;
mod close;
mod connect_command;
mod errors;
mod faults;
mod floods;
mod forwarding;
mod harness;
mod leak;
mod lessons;
mod lifecycle;
mod link;
mod machine;
mod malformed;
mod nmap;
mod offload;
mod ping;
mod ping_command;
mod ping_sizes;
mod recovery;
mod routed;
mod scripts;
mod services;
mod several_devices;
mod sockets;
mod udp;
mod vanish;
