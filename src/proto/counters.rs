//! Counters: plain numbers, one for everything worth knowing, one [`DropReason`] for every dropped packet.
//!
//! Every packet given to [`Stack::receive`](super::Stack::receive) is either delivered (`packets_delivered`)
//! or forwarded (`packets_forwarded`) or dropped with exactly one reason, so `packets_in` is always their sum.

use core::fmt;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $name,)+ }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)+];

            /// A short stable name, in the manner of a metric's label.
            pub const fn as_str(self) -> &'static str {
                match self { $(DropReason::$name => $text,)+ }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than its headers say, or than any header.
    Truncated => "truncated",
    /// The IP version is neither 4 nor 6.
    IpVersion => "ip-version",
    /// A header length or total length that contradicts itself.
    IpLength => "ip-length",
    /// The IPv4 header checksum is wrong.
    IpChecksum => "ip-checksum",
    /// A malformed IPv4 option.
    IpOption => "ip-option",
    /// A source-routed packet (RFC 7126; IPv6 routing header with segments left, RFC 5095).
    SourceRouted => "source-routed",
    /// An IPv6 extension header chain that is malformed, too long or in the wrong order.
    ExtensionHeader => "extension-header",
    /// A source address that no host may use: multicast, broadcast, loopback from outside, class E.
    MartianSource => "martian-source",
    /// A destination that must not appear on this interface: loopback from outside, 0.0.0.0.
    MartianDestination => "martian-destination",
    /// Not addressed to this stack, and forwarding is off.
    NotOurs => "not-ours",
    /// A fragment that can't be part of any datagram: empty, of uneven length though not the last, or reaching
    /// past 65,535 bytes.
    FragmentMalformed => "fragment-malformed",
    /// The first fragment of an IPv6 datagram, without all of its headers (RFC 7112).
    FragmentHeaders => "fragment-headers",
    /// A fragment that has come before.
    FragmentDuplicate => "fragment-duplicate",
    /// A fragment that overlaps another; the datagram is given up (RFC 5722).
    FragmentOverlap => "fragment-overlap",
    /// A fragment that contradicts others about the datagram's end or ECN; the datagram is given up.
    FragmentContradiction => "fragment-contradiction",
    /// A fragment beyond what is kept of one datagram, or of all.
    FragmentLimit => "fragment-limit",
    /// A fragment of a datagram that has been given up.
    FragmentRefused => "fragment-refused",
    /// In transit: a link-local or loopback source or destination, which stays on its link (RFC 4291 section
    /// 2.5.6, RFC 3927 section 2.7).
    ForwardScope => "forward-scope",
    /// In transit: to a group, or to all on a network.
    ForwardNotUnicast => "forward-not-unicast",
    /// In transit: the source is not reached by the interface that the packet came by.
    ReversePath => "reverse-path",
    /// In transit: no route leads to the destination.
    NoRoute => "no-route",
    /// In transit: the route is a black hole.
    RouteBlackhole => "route-blackhole",
    /// In transit: the route says that the destination is unreachable.
    RouteUnreachable => "route-unreachable",
    /// In transit: the route says that the destination is prohibited.
    RouteProhibited => "route-prohibited",
    /// In transit: the time to live, the hop limit, is used up.
    HopLimit => "hop-limit",
    /// In transit: larger than the next link takes, and not to be fragmented.
    ForwardTooBig => "forward-too-big",
    /// In transit: the device is busy and the queue for it is full.
    ForwardQueueFull => "forward-queue-full",
    /// In transit: a checksum to be completed or a super-segment to be cut, of a protocol for which nobody here
    /// knows how.
    ForwardOffload => "forward-offload",
    /// A transport protocol nobody here speaks.
    UnknownProtocol => "unknown-protocol",
    /// A transport packet for a broadcast or multicast address that may not be answered there.
    NotUnicast => "not-unicast",
    /// An ICMP checksum is wrong.
    IcmpChecksum => "icmp-checksum",
    /// An ICMP message that is malformed.
    IcmpMalformed => "icmp-malformed",
    /// An ICMP type or code that nobody here knows, or an error that its socket has no use for.
    IcmpIgnored => "icmp-ignored",
    /// An ICMP echo or timestamp request to a broadcast or multicast address (RFC 1122 section 3.2.2.6), or from
    /// a source that can't be answered.
    IcmpRequestToMany => "icmp-request-to-many",
    /// An ICMP redirect: not believed, since whoever is on the path could take it over.
    IcmpRedirect => "icmp-redirect",
    /// Router or neighbour discovery: a TUN has no link layer.
    IcmpDiscovery => "icmp-discovery",
    /// Multicast listener discovery or multicast router discovery: no router of groups is here.
    IcmpGroups => "icmp-groups",
    /// An ICMP type that RFC 6633 or RFC 6918 has deprecated: source quench, information, address mask.
    IcmpDeprecated => "icmp-deprecated",
    /// An ICMP error that quotes a packet we can't have sent.
    IcmpUnrelated => "icmp-unrelated",
    /// An ICMP error for a socket whose queue of reports is full.
    ErrorQueueFull => "error-queue-full",
    /// An echo reply that no socket waits for.
    PingNoSocket => "ping-no-socket",
    /// The ICMP echo socket's queue of replies is full.
    PingQueueFull => "ping-queue-full",
    /// A UDP length that contradicts the IP length.
    UdpMalformed => "udp-malformed",
    /// A UDP checksum is wrong (or zero over IPv6).
    UdpChecksum => "udp-checksum",
    /// No UDP socket is bound to the port.
    UdpNoSocket => "udp-no-socket",
    /// The UDP socket's receive queue is full.
    UdpQueueFull => "udp-queue-full",
    /// A TCP header that contradicts itself (data offset, reserved combinations, port 0).
    TcpMalformed => "tcp-malformed",
    /// A TCP checksum is wrong.
    TcpChecksum => "tcp-checksum",
    /// A TCP option with a length that is impossible.
    TcpOption => "tcp-option",
    /// No TCP connection or listener for the segment; answered with a reset unless it was one.
    TcpNoSocket => "tcp-no-socket",
    /// A SYN for a listener whose accept queue is full.
    TcpBacklogFull => "tcp-backlog-full",
    /// A SYN for a listener whose SYN queue is full.
    TcpSynQueueFull => "tcp-syn-queue-full",
    /// The ACK that ends a handshake, while the accept queue is full.
    TcpAcceptQueueFull => "tcp-accept-queue-full",
    /// A segment outside the receive window.
    TcpOutOfWindow => "tcp-out-of-window",
    /// A segment whose timestamp is older than one that has come (PAWS, RFC 7323 section 5).
    TcpOldTimestamp => "tcp-old-timestamp",
    /// A segment without the timestamp that was agreed upon (RFC 7323 section 3.2).
    TcpNoTimestamp => "tcp-no-timestamp",
    /// A segment that acknowledges what was never sent, or long ago (RFC 5961).
    TcpBadAck => "tcp-bad-ack",
    /// A reset that did not hit RCV.NXT exactly, or a SYN in a synchronised state (RFC 5961).
    TcpChallenged => "tcp-challenged",
    /// A segment without ACK in a state that needs one, or otherwise of no use in the state.
    TcpUnexpected => "tcp-unexpected",
    /// A reset in TIME-WAIT (RFC 1337).
    TcpTimeWaitReset => "tcp-time-wait-reset",
    /// Data for a connection whose reader is gone; answered with a reset.
    TcpDataAfterClose => "tcp-data-after-close",
    /// The page pool has no page left for the segment's data.
    NoMemory => "no-memory",
    /// The loopback queue is full.
    LoopbackFull => "loopback-full",
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What the stack has counted since it was made.
        #[derive(Clone, Debug)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
            dropped: [u64; DropReason::ALL.len()],
        }

        impl Default for Counters {
            fn default() -> Self {
                Counters { $($name: 0,)+ dropped: [0; DropReason::ALL.len()] }
            }
        }

        impl Counters {
            /// Name and value of every counter but the drop reasons.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Packets received.
    packets_in,
    /// Bytes received, IP headers included.
    bytes_in,
    /// Packets that reached the layer they were meant for.
    packets_delivered,
    /// Packets on their way to somebody else.
    packets_forwarded,
    /// Packets that the device took.
    packets_out,
    /// Bytes that the device took, IP headers included.
    bytes_out,
    /// Replies given up because the queue of small packets was full.
    replies_lost,
    /// Datagrams put together of fragments.
    reassembled,
    /// Datagrams given up because fragments did not come in time.
    reassembly_timeouts,
    /// Datagrams given up, the oldest first, because fragments took up too much room.
    reassembly_evicted,
    /// Datagrams given up because fragments overlapped.
    reassembly_overlaps,
    /// Datagrams given up because fragments contradicted each other.
    reassembly_contradictions,
    /// Datagrams given up because they came in too many fragments.
    reassembly_too_many,
    /// Datagrams of ours that were sent as fragments.
    fragmented,
    /// Fragments that they were sent as.
    fragments_out,
    /// Reports that a path's MTU is smaller than its first link's, which were believed.
    path_mtus_learnt,
    /// Such reports that told nothing new, or an MTU below the floor.
    path_mtus_refused,
    /// ICMP echo requests answered.
    icmp_echo_replies,
    /// ICMP timestamp requests answered.
    icmp_timestamp_replies,
    /// ICMP errors sent.
    icmp_errors_out,
    /// ICMP errors not sent because of the rate limit.
    icmp_errors_limited,
    /// ICMP errors received and handed to a socket.
    icmp_errors_in,
    /// Echo requests sent by sockets.
    ping_requests_out,
    /// Echo replies delivered to a socket.
    ping_replies_in,
    /// Copies of datagrams delivered to a raw socket.
    raw_in,
    /// Copies of datagrams that a raw socket's receive queue had no room for.
    raw_queue_full,
    /// Datagrams sent by raw sockets.
    raw_out,
    /// UDP datagrams delivered to a socket.
    udp_in,
    /// UDP datagrams sent.
    udp_out,
    /// TCP segments received with a good checksum.
    tcp_segments_in,
    /// TCP segments sent.
    tcp_segments_out,
    /// TCP segments that carried bytes sent before.
    tcp_retransmits,
    /// Retransmission time-outs.
    tcp_timeouts,
    /// Fast retransmits (RFC 5681).
    tcp_fast_retransmits,
    /// Segments sent that report what came ahead of its turn, or twice (RFC 2018).
    tcp_sacks_out,
    /// Of these, those that report something to have come twice (RFC 2883).
    tcp_dsacks_out,
    /// Acknowledgements that reported something beyond what they acknowledge.
    tcp_sacks_in,
    /// Acknowledgements that reported something to have come twice.
    tcp_dsacks_in,
    /// Peers that turned out to have thrown away what they had reported (RFC 2018 section 8).
    tcp_reneged,
    /// Duplicate acknowledgements that let something new go, without SACK (RFC 3042).
    tcp_limited_transmits,
    /// Segments acknowledged one by one: their sender begins, or begins again.
    tcp_quick_acks,
    /// Connections that have ended whose receive buffer had grown.
    tcp_recv_buffers_grown,
    /// Connections that have ended whose send buffer had grown.
    tcp_send_buffers_grown,
    /// Tail loss probes sent (RFC 8985 section 7).
    tcp_loss_probes,
    /// Tail loss probes that made good for a loss.
    tcp_loss_probes_repaired,
    /// Times that the reordering timer found something lost (RFC 8985 section 6.2).
    tcp_reordering_timeouts,
    /// Recoveries that were needless, undone: a timestamp from before the first retransmission came back (RFC 3522).
    tcp_undone_by_timestamp,
    /// The same: all that was sent again came twice (RFC 3708).
    tcp_undone_by_dsack,
    /// The same: after a time-out, what had not been sent again arrived (RFC 5682).
    tcp_undone_by_frto,
    /// Zero-window probes sent.
    tcp_window_probes,
    /// Black holes of path MTU discovery: smaller segments were tried where large ones vanished (RFC 4821).
    tcp_black_holes,
    /// Larger segments sent to find out whether the path lets them through (RFC 4821).
    tcp_path_probes,
    /// Keep-alive probes sent.
    tcp_keepalives,
    /// Connections opened from this side.
    tcp_active_opens,
    /// Connections accepted from a peer's SYN.
    tcp_passive_opens,
    /// Connection attempts that failed.
    tcp_attempts_failed,
    /// Resets sent.
    tcp_resets_out,
    /// Resets received and believed.
    tcp_resets_in,
    /// Connections given up: R2, user time-out or keep-alive.
    tcp_given_up,
    /// Challenge ACKs sent (RFC 5961).
    tcp_challenge_acks,
    /// Challenge ACKs not sent because of a limit.
    tcp_challenge_acks_limited,
    /// Segments that arrived ahead of their turn and were kept.
    tcp_out_of_order,
    /// Segments that held nothing new.
    tcp_duplicates,
    /// TIME-WAIT entries evicted before their time because the table was full.
    tcp_time_wait_overflow,
    /// TIME-WAIT entries replaced by a new connection (RFC 9293 MAY-2, RFC 6191).
    tcp_time_wait_reused,
    /// SYN-ACKs with a cookie, sent by listeners whose SYN queue was full (RFC 4987 section 3.6).
    tcp_syn_cookies_sent,
    /// Connections opened by an ACK that brought a cookie back.
    tcp_syn_cookies_received,
    /// ACKs that came when cookies had been sent lately, and brought none that was valid.
    tcp_syn_cookies_failed,
    /// Times that a first hop was reported as perhaps dead (RFC 9293 MUST-20, R1).
    negative_advice,
}

impl Counters {
    /// Counts a dropped packet.
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    /// How many packets were dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// How many packets were dropped, for all reasons together.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
