//! A run as pcapng, for Wireshark: an interface per node and port, with what the node sends and what comes to it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use tunstack::sim::{Fate, Port};

use super::trace::Mark;

/// Writes packets to the file that `SIM_PCAP` names, if it names one.
pub(crate) struct Capture {
    writer: PcapNgWriter<BufWriter<File>>,
    interfaces: HashMap<Port, u32>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("interfaces", &self.interfaces).finish_non_exhaustive()
    }
}

/// The direction flags of an enhanced packet block.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

impl Capture {
    pub(crate) fn from_environment() -> Option<Capture> {
        let path = std::env::var_os("SIM_PCAP")?;
        let file = File::create(&path).unwrap_or_else(|error| panic!("SIM_PCAP: {path:?}: {error}"));
        let writer = PcapNgWriter::new(BufWriter::new(file)).expect("the capture can be written");
        Some(Capture { writer, interfaces: HashMap::new() })
    }

    /// Takes a packet, with what became of it as its comment.
    pub(crate) fn packet(&mut self, time: Duration, mark: Mark, port: Port, packet: &[u8]) {
        let interface_id = self.interface(port);
        let (direction, comment) = match mark {
            Mark::Arrived => (INBOUND, None),
            Mark::Sent(Fate::Carried) => (OUTBOUND, None),
            Mark::Sent(fate) => (OUTBOUND, Some(format!("{fate:?}"))),
        };
        let mut options = vec![EnhancedPacketOption::Flags(direction)];
        options.extend(comment.map(|comment| EnhancedPacketOption::Comment(Cow::Owned(comment))));
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: time,
            original_len: packet.len() as u32,
            data: Cow::Borrowed(packet),
            options,
        };
        self.writer.write_pcapng_block(block).expect("the capture can be written");
    }

    fn interface(&mut self, port: Port) -> u32 {
        if let Some(known) = self.interfaces.get(&port) {
            return *known;
        }
        let name = format!("node{}.{}", port.node.0, port.port);
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name)),
                // Nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        self.writer.write_pcapng_block(block).expect("the capture can be written");
        let id = self.interfaces.len() as u32;
        self.interfaces.insert(port, id);
        id
    }
}
