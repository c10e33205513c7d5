//! Raw packets, made and read with `etherparse`: independent of the stack's own codec, so that each checks
//! the other. Reading asserts every checksum and length.

// Each test uses some of it.
#![allow(dead_code)]

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader, TcpSlice};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const URG: u8 = 32;

/// An IP datagram, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    /// 0 over IPv4.
    pub(crate) flow_label: u32,
    /// As always over IPv6.
    pub(crate) dont_fragment: bool,
    pub(crate) payload: Vec<u8>,
}

impl Ip {
    pub(crate) fn new(src: IpAddr, dst: IpAddr, protocol: u8, payload: Vec<u8>) -> Ip {
        Ip { src, dst, protocol, ttl: 64, tos: 0, flow_label: 0, dont_fragment: true, payload }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let len = u16::try_from(self.payload.len()).unwrap();
                let mut header =
                    Ipv4Header::new(len, self.ttl, IpNumber(self.protocol), src.octets(), dst.octets())
                        .unwrap();
                header.dscp = (self.tos >> 2).try_into().unwrap();
                header.ecn = (self.tos & 3).try_into().unwrap();
                header.dont_fragment = self.dont_fragment;
                header.header_checksum = header.calc_header_checksum();
                header.to_bytes().to_vec()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => Ipv6Header {
                traffic_class: self.tos,
                flow_label: self.flow_label.try_into().unwrap(),
                payload_length: u16::try_from(self.payload.len()).unwrap(),
                next_header: IpNumber(self.protocol),
                hop_limit: self.ttl,
                source: src.octets(),
                destination: dst.octets(),
            }
            .to_bytes()
            .to_vec(),
            _ => panic!("families differ: {} and {}", self.src, self.dst),
        };
        out.extend_from_slice(&self.payload);
        out
    }

    /// Reads a datagram that must be right in every respect.
    pub(crate) fn decode(bytes: &[u8]) -> Ip {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => {
                let (header, rest) = Ipv4Header::from_slice(bytes).expect("an IPv4 header");
                assert_eq!(usize::from(header.total_len), bytes.len(), "IPv4 total length");
                assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 header checksum");
                Ip {
                    src: header.source.into(),
                    dst: header.destination.into(),
                    protocol: header.protocol.0,
                    ttl: header.time_to_live,
                    tos: header.dscp.value() << 2 | header.ecn.value(),
                    flow_label: 0,
                    dont_fragment: header.dont_fragment,
                    payload: rest.to_vec(),
                }
            }
            Some(6) => {
                let (header, rest) = Ipv6Header::from_slice(bytes).expect("an IPv6 header");
                assert_eq!(usize::from(header.payload_length), rest.len(), "IPv6 payload length");
                Ip {
                    src: header.source.into(),
                    dst: header.destination.into(),
                    protocol: header.next_header.0,
                    ttl: header.hop_limit,
                    tos: header.traffic_class,
                    flow_label: header.flow_label.value(),
                    dont_fragment: true,
                    payload: rest.to_vec(),
                }
            }
            version => panic!("IP version {version:?}"),
        }
    }
}

/// A TCP segment in its datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) flow_label: u32,
    pub(crate) dont_fragment: bool,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// How much text each segment has that this super-segment stands for. Not a part of what goes on a wire.
    pub(crate) gso_size: Option<usize>,
}

impl Tcp {
    pub(crate) fn new(src: SocketAddr, dst: SocketAddr) -> Tcp {
        Tcp {
            src,
            dst,
            ttl: 64,
            tos: 0,
            flow_label: 0,
            dont_fragment: true,
            seq: 0,
            ack: 0,
            flags: 0,
            window: 0,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
            gso_size: None,
        }
    }

    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Octets of sequence space.
    pub(crate) fn seq_len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut header = TcpHeader::new(self.src.port(), self.dst.port(), self.seq, self.window);
        header.acknowledgment_number = self.ack;
        header.urgent_pointer = self.urgent;
        (header.fin, header.syn, header.rst) = (self.has(FIN), self.has(SYN), self.has(RST));
        (header.psh, header.ack, header.urg) = (self.has(PSH), self.has(ACK), self.has(URG));
        (header.ece, header.cwr) = (self.has(64), self.has(128));
        // Padded with zeros to a multiple of four by etherparse, as END does.
        header.set_options_raw(&self.options).expect("at most 40 bytes of options");
        header.checksum = match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                header.calc_checksum_ipv4_raw(src.octets(), dst.octets(), &self.payload).unwrap()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), &self.payload).unwrap()
            }
            _ => panic!("families differ"),
        };
        let mut segment = header.to_bytes().to_vec();
        segment.extend_from_slice(&self.payload);
        let Tcp { ttl, tos, flow_label, dont_fragment, .. } = *self;
        let ip =
            Ip { ttl, tos, flow_label, dont_fragment, ..Ip::new(self.src.ip(), self.dst.ip(), 6, segment) };
        ip.encode()
    }

    /// Reads a datagram that must be right in every respect; `None` if it isn't TCP.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Tcp> {
        let ip = Ip::decode(bytes);
        if ip.protocol != 6 {
            return None;
        }
        let slice = TcpSlice::from_slice(&ip.payload).expect("a TCP header");
        let sum = match (ip.src, ip.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                slice.calc_checksum_ipv4(src.octets(), dst.octets()).unwrap()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                slice.calc_checksum_ipv6(src.octets(), dst.octets()).unwrap()
            }
            _ => unreachable!("one header, one family"),
        };
        assert_eq!(slice.checksum(), sum, "TCP checksum");
        Some(Tcp {
            src: SocketAddr::new(ip.src, slice.source_port()),
            dst: SocketAddr::new(ip.dst, slice.destination_port()),
            ttl: ip.ttl,
            tos: ip.tos,
            flow_label: ip.flow_label,
            dont_fragment: ip.dont_fragment,
            seq: slice.sequence_number(),
            ack: slice.acknowledgment_number(),
            flags: slice.header_slice()[13],
            window: slice.window_size(),
            urgent: slice.urgent_pointer(),
            options: slice.options().to_vec(),
            payload: slice.payload().to_vec(),
            gso_size: None,
        })
    }
}

/// A datagram's segment, unless it is of another protocol, was damaged on the way, or is a fragment.
pub(crate) fn tcp_if_intact(bytes: &[u8]) -> Option<Tcp> {
    let (header, src, dst, protocol): (usize, IpAddr, IpAddr, u8) = match bytes.first()? >> 4 {
        4 => {
            let (header, _) = Ipv4Header::from_slice(bytes).ok()?;
            let is_intact = header.header_checksum == header.calc_header_checksum()
                && usize::from(header.total_len) == bytes.len();
            if !is_intact || header.is_fragmenting_payload() {
                return None;
            }
            (header.header_len(), header.source.into(), header.destination.into(), header.protocol.0)
        }
        6 => {
            let (header, rest) = Ipv6Header::from_slice(bytes).ok()?;
            if usize::from(header.payload_length) != rest.len() {
                return None;
            }
            (40, header.source.into(), header.destination.into(), header.next_header.0)
        }
        _ => return None,
    };
    let slice = TcpSlice::from_slice(bytes.get(header..)?).ok().filter(|_| protocol == 6)?;
    let sum = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => slice.calc_checksum_ipv4(src.octets(), dst.octets()).ok()?,
        (IpAddr::V6(src), IpAddr::V6(dst)) => slice.calc_checksum_ipv6(src.octets(), dst.octets()).ok()?,
        _ => return None,
    };
    (sum == slice.checksum()).then(|| Tcp::decode(bytes)).flatten()
}

/// A letter for each flag.
pub(crate) const LETTERS: [(char, u8); 8] =
    [('S', SYN), ('F', FIN), ('R', RST), ('P', PSH), ('U', URG), ('A', ACK), ('E', 64), ('C', 128)];

/// Letters of a flags octet.
pub(crate) fn flags_text(flags: u8) -> String {
    match LETTERS.iter().filter(|(_, bit)| flags & bit != 0).map(|(letter, _)| *letter).collect::<String>() {
        none if none.is_empty() => "-".into(),
        some => some,
    }
}

/// One TCP option, as tests write and see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opt {
    End,
    Nop,
    Mss(u16),
    WindowScale(u8),
    SackPermitted,
    /// Blocks, by their edges.
    Sack(Vec<(u32, u32)>),
    /// TSval and TSecr.
    Timestamps(u32, u32),
    Other {
        kind: u8,
        body: Vec<u8>,
    },
    /// Bytes that are no option at all.
    Raw(Vec<u8>),
}

impl Opt {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Opt::End => out.push(0),
            Opt::Nop => out.push(1),
            Opt::Mss(mss) => out.extend_from_slice(&[2, 4, (mss >> 8) as u8, *mss as u8]),
            Opt::WindowScale(shift) => out.extend_from_slice(&[3, 3, *shift]),
            Opt::SackPermitted => out.extend_from_slice(&[4, 2]),
            Opt::Sack(blocks) => {
                out.extend_from_slice(&[5, 2 + 8 * blocks.len() as u8]);
                for edge in blocks.iter().flat_map(|(left, right)| [left, right]) {
                    out.extend_from_slice(&edge.to_be_bytes());
                }
            }
            Opt::Timestamps(value, echo) => {
                out.extend_from_slice(&[8, 10]);
                out.extend_from_slice(&value.to_be_bytes());
                out.extend_from_slice(&echo.to_be_bytes());
            }
            Opt::Other { kind, body } => {
                out.extend_from_slice(&[*kind, body.len() as u8 + 2]);
                out.extend_from_slice(body);
            }
            Opt::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// All options of a header the stack made: anything odd is a bug of the stack. Padding is left out.
    pub(crate) fn decode_all(mut bytes: &[u8]) -> Vec<Opt> {
        let mut all = Vec::new();
        loop {
            match *bytes {
                [] => return all,
                [0, ref rest @ ..] => {
                    //= RFC9293 MUST-69
                    assert!(rest.iter().all(|byte| *byte == 0), "bytes after end-of-list must be zero");
                    return all;
                }
                [1, ref rest @ ..] => bytes = rest,
                [kind, len, ..] => {
                    let body = bytes.get(2..usize::from(len)).expect("an option within its header");
                    all.push(match (kind, body) {
                        (2, &[high, low]) => Opt::Mss(u16::from_be_bytes([high, low])),
                        (3, &[shift]) => Opt::WindowScale(shift),
                        (4, &[]) => Opt::SackPermitted,
                        (5, blocks) if blocks.len() % 8 == 0 => Opt::Sack(words(blocks)),
                        (8, stamps) if stamps.len() == 8 => {
                            let (value, echo) = words(stamps)[0];
                            Opt::Timestamps(value, echo)
                        }
                        _ => Opt::Other { kind, body: body.to_vec() },
                    });
                    bytes = &bytes[usize::from(len)..];
                }
                [kind] => panic!("option {kind} without a length"),
            }
        }
    }
}

/// Pairs of 32-bit numbers.
fn words(bytes: &[u8]) -> Vec<(u32, u32)> {
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    bytes.chunks_exact(8).map(|pair| (word(&pair[..4]), word(&pair[4..]))).collect()
}

/// A UDP datagram.
pub(crate) fn udp(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap();
    let mut datagram = Vec::new();
    for field in [src.port(), dst.port(), len, 0] {
        datagram.extend_from_slice(&field.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    let header = etherparse::UdpHeader {
        source_port: src.port(),
        destination_port: dst.port(),
        length: len,
        checksum: 0,
    };
    let sum = match (src.ip(), dst.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            header.calc_checksum_ipv4_raw(a.octets(), b.octets(), payload).unwrap()
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            header.calc_checksum_ipv6_raw(a.octets(), b.octets(), payload).unwrap()
        }
        _ => panic!("families differ"),
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    Ip::new(src.ip(), dst.ip(), 17, datagram).encode()
}

/// An ICMP error (of the family of `src`) that quotes `quoted`: the first 28 bytes or more of it.
pub(crate) fn icmp_error(src: IpAddr, dst: IpAddr, kind: u8, code: u8, info: u32, quoted: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend_from_slice(&info.to_be_bytes());
    message.extend_from_slice(&quoted[..quoted.len().min(576)]);
    icmp(src, dst, message)
}

/// An ICMP message of which only the checksum is missing.
pub(crate) fn icmp(src: IpAddr, dst: IpAddr, mut message: Vec<u8>) -> Vec<u8> {
    let mut sum = 0u32;
    let mut add = |bytes: &[u8]| {
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    };
    add(&message);
    let protocol = match (src, dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            add(&src.octets());
            add(&dst.octets());
            add(&(message.len() as u32).to_be_bytes());
            add(&[0, 58]);
            58
        }
        _ => 1,
    };
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    Ip::new(src, dst, protocol, message).encode()
}
