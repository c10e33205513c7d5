//! Random scenarios: who talks to whom, how much, how fast, over how bad a path. One seed is one scenario.

use std::time::Duration;

use tunstack::proto::Config;
use tunstack::proto::config::MtuProbing;
use tunstack::rng::Rng;
use tunstack::sim::{LinkConfig, Loss, NodeId, Ppm};
use tunstack::time::Instant;

use crate::harness::apps::Plan;
use crate::harness::host::Host;
use crate::harness::ours::OurHost;
use crate::harness::smol::SmolHost;
use crate::harness::world::{PORT, World};

/// Longer than any run: what is not done by then never will be.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// The host that opens connections.
const CLIENT: NodeId = NodeId(0);
/// The host that accepts them.
const SERVER: NodeId = NodeId(1);

/// What kind of path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path {
    Perfect,
    /// So many packets in a hundred are lost.
    Loss(u32),
    Reordering,
    Duplication,
    Corruption,
    /// A slow link with a short queue: losses come in bursts, by congestion.
    Bottleneck,
    /// Large packets vanish without a word.
    BlackHole,
    /// Some of everything.
    Everything,
}

/// Who runs what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    Ours,
    SmolServer,
    SmolClient,
}

/// Runs the scenario of `seed`, and returns the world as it ended.
pub(crate) fn run(pairing: Pairing, path: Path, seed: u64) -> World {
    let mut rng = Rng::from_number(seed);
    let start = Instant::from_nanos(rng.next_u64() >> 14);
    let ipv6 = rng.chance_ppm(500_000);
    let mtu = if ipv6 { [1500, 1280, 9000] } else { [1500, 576, 9000] }[rng.within(0..=2) as usize];
    let nets = if ipv6 { ["fd09::1/64", "fd09::2/64"] } else { ["10.9.0.1/24", "10.9.0.2/24"] };
    let mut buffers = [0; 4];
    for buffer in &mut buffers {
        *buffer = buffer_size(&mut rng, pairing);
    }
    let host = |side: usize, smol: bool, rng: &mut Rng| -> Box<dyn Host> {
        let (recv, send) = (buffers[2 * side], buffers[2 * side + 1]);
        let nodelay = rng.chance_ppm(300_000);
        let host_seed = rng.next_u64();
        if smol {
            return Box::new(SmolHost::new(host_seed, nets[side], mtu, recv, send, !nodelay));
        }
        // Not drawn, so that a seed stays the run that it was.
        let mtu_probing =
            if host_seed.is_multiple_of(4) { MtuProbing::Always } else { MtuProbing::default() };
        let mut config = Config { recv_buffer: recv, send_buffer: send, mtu_probing, ..Config::default() };
        extensions(rng, &mut config);
        let mut host = OurHost::new(config, host_seed, start, nets[side], mtu);
        host.options = if nodelay { |options| options.nodelay = true } else { |_| {} };
        host.node.busy = Ppm([0, 0, 0, 300_000][rng.within(0..=3) as usize]);
        Box::new(host)
    };
    let client = host(0, pairing == Pairing::SmolClient, &mut rng);
    let server = host(1, pairing == Pairing::SmolServer, &mut rng);
    let mut links = [link(path, &mut rng), link(path, &mut rng)];
    if let Path::BlackHole = path {
        // What every host takes gets through.
        let least = if ipv6 { 1280 } else { 576 };
        links.iter_mut().for_each(|link| link.mtu = Some(rng.within(least..=mtu as u32) as usize));
    }
    let mut world = World::pair([client, server], links, mtu, seed, start);
    world.host(SERVER).listen(start, PORT);
    let smallest = *buffers.iter().min().unwrap_or(&1);
    for connection in 0..rng.within(1..=3) {
        let (client, server) = plans(&mut rng, u64::from(connection) * 2 + 10, smallest);
        world.connect(CLIENT, SERVER, client, server);
    }
    world.run_apps(PATIENCE);
    world.run_out(PATIENCE);
    world
}

/// How long a megabyte takes over a path of 66 ms, on which datagrams larger than `mtu` vanish.
pub(crate) fn black_hole(ipv6: bool, mtu: Option<usize>) -> Duration {
    let start = Instant::from_millis(1);
    let nets = if ipv6 { ["fd09::1/64", "fd09::2/64"] } else { ["10.9.0.1/24", "10.9.0.2/24"] };
    let mut seed = 1;
    let hosts = nets.map(|net| -> Box<dyn Host> {
        seed += 1;
        Box::new(OurHost::new(Config::default(), seed, start, net, 1500))
    });
    let link = LinkConfig { delay: Duration::from_millis(33), mtu, ..LinkConfig::default() };
    let mut world = World::pair(hosts, [link.clone(), link], 1500, seed, start);
    world.host(SERVER).listen(start, PORT);
    let plan = |send, stream, expect, expect_stream| Plan {
        send,
        stream,
        expect,
        expect_stream,
        write_size: 65_536,
        read_size: 65_536,
        write_pause: Duration::ZERO,
        read_pause: Duration::ZERO,
        answer_after_eof: false,
    };
    world.connect(CLIENT, SERVER, plan(1_000_000, 1, 0, 2), plan(0, 2, 1_000_000, 1));
    world.run_apps(PATIENCE);
    world.now() - start
}

/// Two of our stacks open the same connection at once (RFC 9293 MUST-10), and use it.
pub(crate) fn run_simultaneous(path: Path, seed: u64) -> World {
    let mut rng = Rng::from_number(seed);
    let start = Instant::from_nanos(rng.next_u64() >> 14);
    let addrs: [std::net::SocketAddr; 2] =
        ["10.9.0.1:1000", "10.9.0.2:2000"].map(|addr| addr.parse().unwrap());
    let mut conns = [0; 2];
    let mut host = |side: usize, net: &str| -> Box<dyn Host> {
        let recv_buffer = rng.within(1_000..=100_000) as usize;
        let mut config = Config { recv_buffer, ..Config::default() };
        extensions(&mut rng, &mut config);
        let mut host = OurHost::new(config, rng.next_u64(), start, net, 1500);
        conns[side] = host.connect_from(start, addrs[side].port(), addrs[1 - side]);
        Box::new(host)
    };
    let hosts = [host(0, "10.9.0.1/24"), host(1, "10.9.0.2/24")];
    let links = [link(path, &mut rng), link(path, &mut rng)];
    let mut world = World::pair(hosts, links, 1500, seed, start);
    let (first, second) = plans(&mut rng, 10, 1_000);
    world.employ(CLIENT, SERVER, conns[0], first);
    world.employ(SERVER, CLIENT, conns[1], second);
    world.run_apps(PATIENCE);
    world.run_out(PATIENCE);
    world
}

/// Selective acknowledgements and timestamps, each mostly there: on at both ends, at one or at none; and now and then a SYN
/// queue that is soon full.
pub(crate) fn extensions(rng: &mut Rng, config: &mut Config) {
    config.sack = rng.chance_ppm(750_000);
    config.timestamps = rng.chance_ppm(750_000);
    // Not drawn from the same source, so that the other draws of a seed stay what they were.
    let mut aside = Rng::from_number(rng.clone().next_u64());
    if aside.chance_ppm(300_000) {
        // Who comes while one to four others open their connections is answered with a cookie.
        config.syn_queue = aside.within(1..=4) as usize;
    }
}

/// Sizes from one byte to a megabyte, the odd ones as likely as the usual ones.
pub(crate) fn buffer_size(rng: &mut Rng, pairing: Pairing) -> usize {
    let small = if pairing == Pairing::Ours { 1 } else { 64 };
    match rng.within(0..=7) {
        0 => rng.within(small..=200) as usize,
        1 => rng.within(200..=1_500) as usize,
        2 => rng.within(1_500..=5_000) as usize,
        3 | 4 => rng.within(5_000..=100_000) as usize,
        5 => 65_535,
        _ => 1 << rng.within(12..=20),
    }
}

pub(crate) fn plans(rng: &mut Rng, stream: u64, smallest_buffer: usize) -> (Plan, Plan) {
    // Tiny buffers need a round trip for every few bytes.
    let most = (smallest_buffer as u64 * 60).min(150_000) as u32;
    let mut amount = || match rng.within(0..=5) {
        0 => 0,
        1 => u64::from(rng.within(1..=20.min(most))),
        _ => u64::from(rng.within(1..=most)),
    };
    let (up, down) = (amount(), amount());
    let answer_after_eof = rng.chance_ppm(300_000);
    let mut plan = |send, stream, expect, expect_stream, answer_after_eof| {
        let slow = |rng: &mut Rng| match rng.within(0..=5) {
            0 => Duration::from_micros(u64::from(rng.within(1..=300_000))),
            _ => Duration::ZERO,
        };
        // A pause after every byte would only make the run longer.
        let size = |rng: &mut Rng, pause: Duration| match rng.within(0..=3) {
            0 if pause.is_zero() => rng.within(1..=100),
            1 => rng.within(100..=3_000),
            _ => rng.within(2_000..=70_000),
        };
        let (write_pause, read_pause) = (slow(rng), slow(rng));
        let (write_size, read_size) = (size(rng, write_pause), size(rng, read_pause));
        Plan {
            send,
            stream,
            expect,
            expect_stream,
            write_size,
            read_size,
            write_pause,
            read_pause,
            answer_after_eof,
        }
    };
    (plan(up, stream, down, stream + 1, false), plan(down, stream + 1, up, stream, answer_after_eof))
}

fn link(path: Path, rng: &mut Rng) -> LinkConfig {
    let micros = |rng: &mut Rng, most: u32| Duration::from_micros(u64::from(rng.within(0..=most)));
    let mut link = LinkConfig { delay: micros(rng, 60_000), ..LinkConfig::default() };
    match path {
        Path::Perfect | Path::BlackHole => {}
        Path::Loss(percent) => link.loss = Loss::Random(Ppm::percent(percent)),
        Path::Reordering => {
            link.reorder = Ppm(rng.within(10_000..=400_000));
            link.reorder_by = Duration::from_millis(1) + micros(rng, 100_000);
        }
        Path::Duplication => {
            link.duplicate = Ppm(rng.within(10_000..=500_000));
            link.reorder = Ppm::percent(10);
            link.reorder_by = Duration::from_millis(30);
        }
        Path::Corruption => link.corrupt = Ppm(rng.within(10_000..=100_000)),
        Path::Bottleneck => {
            link.rate = u64::from(rng.within(160_000..=16_000_000)).try_into().ok();
            link.queue = u64::from(rng.within(20_000..=60_000));
            link.jitter = Duration::from_millis(2);
        }
        Path::Everything => {
            link.loss = Loss::Random(Ppm(rng.within(0..=50_000)));
            link.duplicate = Ppm(rng.within(0..=50_000));
            link.corrupt = Ppm(rng.within(0..=50_000));
            link.reorder = Ppm(rng.within(0..=200_000));
            link.reorder_by = Duration::from_micros(1) + micros(rng, 200_000);
            link.jitter = micros(rng, 50_000);
        }
    }
    link
}
