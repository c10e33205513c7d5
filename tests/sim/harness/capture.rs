//! A run as pcapng, for Wireshark: an interface per node and port, with what the node sends and what comes to it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
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
        Some(Capture::to(path.as_ref()))
    }

    fn to(path: &Path) -> Capture {
        let file = File::create(path).unwrap_or_else(|error| panic!("SIM_PCAP: {path:?}: {error}"));
        let writer = PcapNgWriter::new(BufWriter::new(file)).expect("the capture can be written");
        Capture { writer, interfaces: HashMap::new() }
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

#[test]
fn a_capture_reads_back_with_its_interfaces_times_and_fates() {
    use pcap_file::pcapng::{Block, PcapNgReader};
    use tunstack::sim::NodeId;

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capture.pcapng");
    let mut capture = Capture::to(&path);
    let ports = [0, 1].map(|node| Port { node: NodeId(node), port: 0 });
    let time = Duration::from_nanos(1_500_000_123);
    capture.packet(time, Mark::Sent(Fate::Carried), ports[0], b"one");
    capture.packet(time * 2, Mark::Arrived, ports[1], b"one");
    capture.packet(time * 3, Mark::Sent(Fate::Lost), ports[0], b"another");
    drop(capture);

    let mut reader = PcapNgReader::new(File::open(&path).unwrap()).unwrap();
    let mut seen = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::InterfaceDescription(interface) => {
                assert_eq!(interface.linktype, DataLink::RAW);
                seen.push(format!("{:?}", interface.options[0]));
            }
            Block::EnhancedPacket(packet) => seen.push(format!(
                "{} at {:?}: {:?}, {}",
                packet.interface_id,
                packet.timestamp,
                std::str::from_utf8(&packet.data).unwrap(),
                packet.options.len()
            )),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        seen,
        [
            "IfName(\"node0.0\")",
            "0 at 1.500000123s: \"one\", 1",
            "IfName(\"node1.0\")",
            "1 at 3.000000246s: \"one\", 1",
            "0 at 4.500000369s: \"another\", 2",
        ]
    );
}
