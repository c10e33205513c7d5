//! What is drawn for a run: which faults there are at all, what each direction of a cable does, and how each stack is
//! set up.

use std::num::NonZeroU64;
use std::time::Duration;

use tunstack::proto::Config;
use tunstack::proto::config::MtuProbing;
use tunstack::proto::tcp::{KeepAlive, SocketOptions};
use tunstack::rng::Rng;
use tunstack::sim::{GilbertElliott, LinkConfig, Loss, Ppm};

use crate::scenario::{Pairing, buffer_size, extensions};

/// Each fault of a link is there in a run, or it is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switches {
    losses: [bool; 4],
    jitter: bool,
    rate: bool,
    ecn: bool,
    duplicate: bool,
    /// The wire that damages packets. One alone: of two octets changed on the way, the second can make good for the first in
    /// the eyes of the Internet checksum, once in about a thousand times.
    corrupt: Option<usize>,
    reorder: bool,
}

impl Switches {
    pub(super) fn draw(rng: &mut Rng, wires: usize) -> Switches {
        let corrupt = rng.within(0..=wires as u32 - 1) as usize;
        let mut one_in_three = || rng.chance_ppm(333_333);
        Switches {
            losses: [(); 4].map(|()| one_in_three()),
            jitter: one_in_three(),
            rate: one_in_three(),
            ecn: one_in_three(),
            duplicate: one_in_three(),
            corrupt: one_in_three().then_some(corrupt),
            reorder: one_in_three(),
        }
    }

    /// Whether packets are damaged somewhere.
    pub(super) fn corrupts(&self) -> bool {
        self.corrupt.is_some()
    }

    /// One direction of a wire, with some of the faults.
    pub(super) fn link(&self, wire: usize, rng: &mut Rng) -> LinkConfig {
        let mut link = healed(rng);
        if self.jitter {
            link.jitter = micros(rng, 1, 30_000);
        }
        if self.rate {
            link.rate = NonZeroU64::new(u64::from(rng.within(200_000..=20_000_000)));
            link.queue = u64::from(rng.within(10_000..=100_000));
        }
        if self.ecn && self.rate {
            link.ecn_threshold = Some(link.queue / 8);
        }
        link.loss = self.loss(rng);
        for (is_on, chance, most) in [
            (self.duplicate, &mut link.duplicate, 50_000),
            (self.corrupt == Some(wire), &mut link.corrupt, 30_000),
            (self.reorder, &mut link.reorder, 100_000),
        ] {
            if is_on {
                *chance = Ppm(rng.within(0..=most));
            }
        }
        link.reorder_by = micros(rng, 1_000, 100_000);
        link
    }

    fn loss(&self, rng: &mut Rng) -> Loss {
        let kind = rng.within(0..=3) as usize;
        match (self.losses[kind], kind) {
            (false, _) => Loss::None,
            (true, 0) => Loss::Random(Ppm(rng.within(100..=100_000))),
            (true, 1) => {
                let begin = Ppm(rng.within(100..=10_000));
                Loss::Bursts(GilbertElliott::bursts(begin, rng.within(1..=20)))
            }
            (true, 2) => Loss::Every(u64::from(rng.within(5..=200))),
            (true, _) => Loss::Only(u64::from(rng.within(1..=30))),
        }
    }
}

/// A direction of a cable that does nothing wrong.
pub(super) fn healed(rng: &mut Rng) -> LinkConfig {
    let delay = if rng.chance_ppm(200_000) { Duration::ZERO } else { micros(rng, 100, 50_000) };
    LinkConfig { delay, ..LinkConfig::default() }
}

/// The name under which a loss is reported.
pub(super) fn loss_name(loss: Loss) -> Option<&'static str> {
    match loss {
        Loss::None => None,
        Loss::Random(_) => Some("random loss"),
        Loss::Bursts(_) => Some("loss in bursts"),
        Loss::Every(_) => Some("loss of every so manieth"),
        Loss::Only(_) => Some("loss of one given packet"),
    }
}

/// How a host's stack is set up.
pub(super) fn host_config(rng: &mut Rng) -> Config {
    let mut config = Config {
        recv_buffer: buffer_size(rng, Pairing::Ours).max(200),
        send_buffer: buffer_size(rng, Pairing::Ours).max(200),
        ..Config::default()
    };
    // Buffers grow from next to nothing, from the usual, or are fixed.
    let initial = [3_000, config.recv_buffer_initial, usize::MAX];
    config.recv_buffer_initial = initial[rng.within(0..=2) as usize];
    config.send_buffer_initial = initial[rng.within(0..=2) as usize];
    extensions(rng, &mut config);
    if rng.chance_ppm(200_000) {
        // Memory is short: less than what all connections would like, enough for each to go on.
        config.pages = rng.within(24..=100) as usize;
    }
    if rng.chance_ppm(250_000) {
        config.mtu_probing = MtuProbing::Always;
    }
    config
}

/// Options of a host's connections.
pub(super) fn options(rng: &mut Rng) -> fn(&mut SocketOptions) {
    match rng.within(0..=4) {
        0 => |options| options.nodelay = true,
        1 => |options| {
            options.keepalive = Some(KeepAlive {
                idle: Duration::from_secs(5),
                interval: Duration::from_secs(5),
                probes: 200,
            });
        },
        _ => |_| {},
    }
}

pub(super) fn micros(rng: &mut Rng, least: u32, most: u32) -> Duration {
    Duration::from_micros(u64::from(rng.within(least..=most)))
}

pub(super) fn millis(rng: &mut Rng, least: u32, most: u32) -> Duration {
    Duration::from_millis(u64::from(rng.within(least..=most)))
}
