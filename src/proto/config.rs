//! Every limit and default of the core, each with its reason.

use core::ops::RangeInclusive;
use core::time::Duration;

/// Limits and defaults of a stack. All are fixed once the stack is made.
///
/// ```
/// use core::time::Duration;
/// use tunstack::proto::Config;
///
/// let config = Config { msl: Duration::from_secs(1), ..Config::default() };
/// assert_eq!(config.time_wait(), Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Maximum segment lifetime; TIME-WAIT lasts twice as long. RFC 9293 says 2 minutes, Linux 30 seconds:
    /// we follow Linux, since nothing on a TUN outlives it.
    pub msl: Duration,
    /// Lower bound of the retransmission time-out. RFC 6298 says 1 s; 200 ms is what Linux and most
    /// deployed stacks use.
    pub rto_min: Duration,
    /// Retransmission time-out before the first measurement (RFC 6298 section 2.1).
    pub rto_initial: Duration,
    /// Upper bound of the retransmission time-out (RFC 6298 rule 2.5: at least 60 s).
    pub rto_max: Duration,
    /// R1: after this many retransmissions of one segment the network layer is told that the first hop may
    /// be dead and the application that there is trouble (RFC 9293 SHLD-10: at least 3).
    pub r1_retransmits: u32,
    /// R2: a connection whose oldest byte stays unacknowledged for this long is given up (RFC 9293
    /// SHLD-11: at least 100 s). Linux's 15 retries take about as long as this.
    pub r2: Duration,
    /// R2 of a SYN (RFC 9293 MUST-23: at least 3 minutes).
    pub r2_syn: Duration,
    /// How many times a SYN-ACK is retransmitted before a half-open connection is forgotten: five times make 63 s
    /// with an initial RTO of 1 s, as on Linux (not RFC 9293 MUST-23's 3 minutes: see ADR 9).
    pub syn_ack_retransmits: u32,
    /// How long an acknowledgement may wait for company (RFC 9293 MUST-40: less than 0.5 s).
    pub delayed_ack: Duration,
    /// Full-sized segments that are acknowledged one by one when a peer begins to send, or has to send again, so that
    /// its window opens as fast as it may (as Linux; 0 for none).
    pub quick_acks: u32,
    /// How long a connection that the application has dropped may stay in FIN-WAIT-2 (as Linux).
    pub fin_wait2_timeout: Duration,
    /// First keep-alive probe after this much silence, where keep-alive is on (RFC 9293 MUST-28).
    pub keepalive_idle: Duration,
    /// Time between keep-alive probes (as Linux).
    pub keepalive_interval: Duration,
    /// Unanswered keep-alive probes before the connection is given up (RFC 9293 MUST-29; as Linux).
    pub keepalive_probes: u32,
    /// How long a segment may wait against silly-window avoidance before it goes out anyway (RFC 9293
    /// section 3.8.6.2.1: 0.1 to 1.0 s).
    pub sws_override: Duration,
    /// Whether selective acknowledgements are offered and taken (RFC 2018). With a peer that has them too, they find what
    /// is lost (RFC 8985).
    pub sack: bool,
    /// Whether timestamps are offered and taken (RFC 7323): they cost 12 bytes a segment, and tell segments of the past from
    /// those of the present, on paths so fast that sequence numbers wrap.
    pub timestamps: bool,
    /// Initial window in segments (RFC 6928).
    pub initial_window_segments: u32,
    /// Bytes an application may have written that the peer has not acknowledged, per connection, at most: a buffer
    /// starts at `send_buffer_initial` and grows with the congestion window. Twice the product of the largest rate and
    /// round-trip time that one connection is to make use of; no buffer is larger than 1 GiB.
    pub send_buffer: usize,
    /// What a send buffer starts with, if `send_buffer` is not less. With [`usize::MAX`] all have that size from the start.
    pub send_buffer_initial: usize,
    /// Bytes a peer may have sent that the application has not read, per connection, at most: a buffer starts at
    /// `recv_buffer_initial` and grows with what the application reads in a round trip. To be chosen as `send_buffer`; as
    /// there, what is larger is no faster, but as large as that the application may leave unread.
    pub recv_buffer: usize,
    /// What a receive buffer starts with, if `recv_buffer` is not less: what a SYN can offer, and more than the two
    /// flights that come before a round trip's worth has been read. With [`usize::MAX`] all have that size from the start.
    pub recv_buffer_initial: usize,
    /// Separate stretches that a peer may have reported by selective acknowledgements, per connection: more than a path with
    /// losses makes of a large window, few enough that a peer which lies costs little (CVE-2019-11478).
    pub sack_ranges: usize,
    /// Separate stretches of out-of-order data kept per connection.
    pub reassembly_ranges: usize,
    /// Pages (of 4 KiB) that all connections together may hold. Windows that were offered count as if they were filled:
    /// nothing is refused that was asked for. Each direction of a connection may have a quarter of what the others leave of
    /// one half (and 64 KiB), 12 KiB when they leave none of it, and 4 KiB when they leave less than an eighth of all, however
    /// large its buffers: peers and applications that read nothing leave room for the others. Only with more than 5
    /// directions for 32 pages, all of them full, text can come that finds no place; it has to be sent again then.
    pub pages: usize,
    /// How long memory is kept for a window of more than 64 KiB into which nothing is sent. After that it is for others, and
    /// if the peer sends all the same and there is none, it has to send again: connections that are kept for later, and
    /// once were busy, hold nobody up.
    pub promise_timeout: Duration,
    /// Backlog of a listener that doesn't name one (as `std`).
    pub backlog: usize,
    /// The largest backlog a listener may ask for (Linux: somaxconn).
    pub backlog_max: usize,
    /// Half-open connections per listener, whatever its backlog.
    pub syn_queue: usize,
    /// Whether a listener whose SYN queue is full goes on answering, by SYN-ACKs with cookies (RFC 4987 section 3.6), instead
    /// of dropping SYNs: a flood of SYNs then keeps nobody out.
    pub syn_cookies: bool,
    /// TCP connections, in all states that own buffers.
    pub connections: usize,
    /// Entries in TIME-WAIT; the oldest makes room for the newest.
    pub time_wait_entries: usize,
    /// UDP sockets.
    pub udp_sockets: usize,
    /// TCP listeners.
    pub listeners: usize,
    /// Bytes queued for reading per UDP socket.
    pub udp_recv_buffer: usize,
    /// Raw sockets: each datagram is shown to all of its protocol.
    pub raw_sockets: usize,
    /// Bytes queued for reading per raw socket (as for UDP).
    pub raw_recv_buffer: usize,
    /// Error reports queued for reading per socket that asks for them: more than a path has hops, few enough
    /// that a flood of ICMP costs little.
    pub error_reports: usize,
    /// ICMP echo sockets: enough for a monitor of many hosts, few enough that a leak is noticed.
    pub ping_sockets: usize,
    /// Bytes of echo replies queued for reading per socket (as for UDP).
    pub ping_recv_buffer: usize,
    /// Ports given to sockets that don't name one (as Linux).
    pub ephemeral_ports: RangeInclusive<u16>,
    /// Time to live and hop limit of packets sent (RFC 9293 MUST-49; IANA's recommended default). 0 counts as 1.
    pub ttl: u8,
    /// The smallest maximum segment size believed of a peer: a smaller one would multiply packets
    /// (CVE-2019-11479).
    pub mss_min: u16,
    /// Challenge ACKs a connection may draw per `challenge_ack_window` (RFC 5961 section 7).
    pub challenge_acks: u32,
    /// The window in which `challenge_acks` are counted.
    pub challenge_ack_window: Duration,
    /// Challenge ACKs per second for the whole stack; each second's real cap is drawn at random between
    /// half of it and one and a half times, so that it can't be probed (CVE-2016-5696).
    pub challenge_acks_global: u32,
    /// ICMP errors per second for the whole stack (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f).
    pub icmp_errors_per_second: u32,
    /// ICMP errors that may be sent in one burst.
    pub icmp_errors_burst: u32,
    /// Addresses of all interfaces together: enough to be every host of a small network at once.
    pub addresses: usize,
    /// Routes, connected ones included: four times what the Internet has, at about 100 bytes each.
    pub routes: usize,
    /// ICMP errors per second for one destination. RFC 4443 section 2.4 f proposes 10 for a small or midsize node;
    /// Linux sends one over IPv4 and 10 or more over IPv6.
    pub icmp_peer_errors_per_second: u32,
    /// ICMP errors that one destination may be sent in one burst (RFC 4443 section 2.4 f; Linux: 6).
    pub icmp_peer_errors_burst: u32,
    /// Destinations whose ICMP errors are counted at a time: more than `icmp_errors_per_second` and
    /// `icmp_errors_burst` can bring into the time in which a destination's burst is earned again.
    pub icmp_error_peers: usize,
    /// Whether packets for others are sent on (RFC 1122 section 3.3.1.1: a host does so only if told to).
    pub forwarding: bool,
    /// Whether packets for others have to come by the interface that leads to their source.
    pub reverse_path: ReversePath,
    /// Destinations whose path MTU is kept: those whose path is narrower than our link, which are few. The oldest
    /// makes room for the newest.
    pub path_mtus: usize,
    /// How long a path MTU is believed (RFC 1191 section 6.3, RFC 8201 section 5.3: 10 minutes, and no less than 5).
    pub path_mtu_expiry: Duration,
    /// Whether TCP finds out the MTU of paths by itself where routers are silent (Linux: tcp_mtu_probing).
    pub mtu_probing: MtuProbing,
    /// Large datagrams of which is known that we have sent them, for ICMP errors that quote them: a round-trip
    /// time's worth. Each takes 4 bytes.
    pub sent_log: usize,
    /// How long the fragments of an IPv4 datagram are kept. RFC 1122 section 3.3.2 recommends 60 to 120 s; we follow
    /// Linux, since what hasn't come by then isn't coming, and its identification will be used again.
    pub reassembly_timeout_v4: Duration,
    /// How long the fragments of an IPv6 datagram are kept (RFC 8200 section 4.5: 60 s).
    pub reassembly_timeout_v6: Duration,
    /// Bytes that fragments may take up, what it costs to keep them included: as Linux, and 60 of the largest
    /// datagrams. The oldest datagram makes room for the newest.
    pub reassembly_bytes: usize,
    /// Datagrams of which fragments are kept: bounds a flood of small first fragments.
    pub reassembly_datagrams: usize,
    /// Fragments kept of one datagram. The largest comes in 1,365 over the smallest link of IPv4 (68 bytes).
    pub reassembly_parts: usize,
    /// Small packets (resets, SYN-ACKs, ICMP answers, datagrams) waiting for each device.
    pub outbox_packets: usize,
    /// Bytes of small packets waiting for each device.
    pub outbox_bytes: usize,
    /// Packets for others waiting for each device that was busy: as many as a TUN's queue holds by default. More
    /// would only come late.
    pub transit_packets: usize,
    /// Bytes of packets for others waiting for each device: room for some super-segments.
    pub transit_bytes: usize,
    /// Packets on their way from the stack to itself.
    pub loopback_packets: usize,
    /// Segments of a wire that a super-segment of ours may stand for, where a device cuts them; with 1 there are none. As
    /// many as fill a datagram where the MTU is 1,500 or not much less. In segments that are tiny a datagram could stand for
    /// tens of thousands, and whoever cuts it would be kept busy for long.
    pub super_segment_max: u64,
    /// Segments one connection may send before the next has its turn. Long runs wake a receiver once. A super-segment counts
    /// as the segments that it stands for, and the last may go beyond: so turns are about as many bytes for all, whether a
    /// device takes super-segments or not, and end before a driver's patience with large datagrams does.
    pub transmit_quantum: usize,
    /// Segments sent before the driver looks again at what has come in, counted likewise.
    pub transmit_budget: usize,
}

/// What is asked of the source address of packets for others (RFC 1812 section 5.3.8, RFC 3704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReversePath {
    /// Nothing (RFC 1812: the default of a router).
    //= RFC1812 5.3.8 off by default
    #[default]
    Off,
    /// That a route leads to it, by whatever interface; a default route is one (as on Linux).
    Loose,
    /// That the best route to it leads by the interface that the packet came by.
    Strict,
}

/// Whether TCP finds out the MTU of paths by itself (RFC 4821), and does not only believe what routers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MtuProbing {
    /// No: where large packets vanish without a word, connections hang until they are given up.
    Off,
    /// When large segments vanish (Linux: 1): a connection goes on in smaller ones, and then tries how large they may be.
    #[default]
    AfterBlackHole,
    /// From the start (Linux: 2): a connection begins with small segments.
    Always,
}

impl Default for Config {
    fn default() -> Self {
        Config::DEFAULT
    }
}

impl Config {
    /// What [`default`](Default::default) gives.
    pub const DEFAULT: Config = Config {
        msl: Duration::from_secs(30),
        rto_min: Duration::from_millis(200),
        rto_initial: Duration::from_secs(1),
        rto_max: Duration::from_secs(120),
        //= RFC9293 SHLD-10
        r1_retransmits: 3,
        //= RFC9293 SHLD-11
        r2: Duration::from_secs(924),
        r2_syn: Duration::from_secs(180),
        syn_ack_retransmits: 5,
        delayed_ack: Duration::from_millis(40),
        quick_acks: 16,
        fin_wait2_timeout: Duration::from_secs(60),
        //= RFC9293 MUST-28
        keepalive_idle: Duration::from_secs(7200),
        keepalive_interval: Duration::from_secs(75),
        keepalive_probes: 9,
        sws_override: Duration::from_millis(200),
        sack: true,
        timestamps: true,
        initial_window_segments: 10,
        send_buffer: 6 << 20,
        send_buffer_initial: 64 << 10,
        recv_buffer: 6 << 20,
        recv_buffer_initial: 64 << 10,
        sack_ranges: 1024,
        reassembly_ranges: 256,
        pages: 128 << 10,
        promise_timeout: Duration::from_secs(30),
        backlog: 128,
        backlog_max: 4096,
        syn_queue: 1024,
        syn_cookies: true,
        connections: 1 << 20,
        time_wait_entries: 1 << 16,
        udp_sockets: 1 << 14,
        listeners: 1 << 14,
        udp_recv_buffer: 208 << 10,
        raw_sockets: 256,
        raw_recv_buffer: 208 << 10,
        error_reports: 256,
        ping_sockets: 1 << 12,
        ping_recv_buffer: 208 << 10,
        ephemeral_ports: 32768..=60999,
        ttl: 64,
        mss_min: 48,
        challenge_acks: 10,
        challenge_ack_window: Duration::from_secs(5),
        challenge_acks_global: 1000,
        icmp_errors_per_second: 1000,
        icmp_errors_burst: 50,
        addresses: 1 << 14,
        routes: 4 << 20,
        icmp_peer_errors_per_second: 10,
        icmp_peer_errors_burst: 10,
        icmp_error_peers: 4096,
        //= RFC1122 3.1 switch
        forwarding: false,
        reverse_path: ReversePath::Off,
        path_mtus: 4096,
        path_mtu_expiry: Duration::from_secs(600),
        mtu_probing: MtuProbing::AfterBlackHole,
        sent_log: 8192,
        reassembly_timeout_v4: Duration::from_secs(30),
        reassembly_timeout_v6: Duration::from_secs(60),
        reassembly_bytes: 4 << 20,
        reassembly_datagrams: 4096,
        reassembly_parts: 1365,
        outbox_packets: 4096,
        outbox_bytes: 8 << 20,
        transit_packets: 500,
        transit_bytes: 2 << 20,
        loopback_packets: 256,
        super_segment_max: 64,
        transmit_quantum: 64,
        transmit_budget: 256,
    };

    /// How long an entry stays in TIME-WAIT: 2 MSL (RFC 9293 MUST-13).
    pub fn time_wait(&self) -> Duration {
        self.msl.saturating_mul(2)
    }
}

/// Secrets of one boot: they key everything an outsider must not guess.
///
/// The run loop draws them from the kernel; a simulation derives them from its seed.
#[derive(Clone)]
pub struct Secrets {
    /// Keys initial sequence numbers (RFC 6528 section 3, RFC 9293 MUST-9) and the offsets of timestamps' clocks (RFC 7323
    /// section 5.4).
    pub isn: [u8; 16],
    /// Keys the choice of ports (RFC 6056).
    pub ports: [u8; 16],
    /// Keys hash tables that peers could otherwise make degenerate.
    pub tables: [u8; 16],
    /// Keys the flow labels of IPv6 (RFC 6437 section 3).
    pub flows: [u8; 16],
    /// Keys SYN cookies (RFC 4987 section 3.6).
    pub cookies: [u8; 16],
    /// Seeds the stack's random source.
    pub rng: [u8; 32],
}

impl Secrets {
    /// Secrets that are none: derived from a number, for tests and simulations.
    pub fn from_number(seed: u64) -> Self {
        let mut rng = crate::rng::Rng::from_number(seed);
        let mut draw = || (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_le_bytes();
        let (isn, ports, tables) = (draw(), draw(), draw());
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(&draw());
        seed[16..].copy_from_slice(&draw());
        Secrets { isn, ports, tables, flows: draw(), cookies: draw(), rng: seed }
    }
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secrets(..)")
    }
}
