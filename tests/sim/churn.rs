//! Applications that open, write, read, close, abort and drop at random, through bad links: whatever they do,
//! what is read is what was written, and in the end nothing is left.

use std::time::Duration;

use tunstack::proto::Config;
use tunstack::rng::Rng;
use tunstack::sim::{LinkConfig, Loss, NodeId, Ppm};
use tunstack::time::Instant;

use crate::harness::host::{Conn, Host, Io};
use crate::harness::ours::OurHost;
use crate::harness::world::{PORT, World};
use crate::support::seeds::{for_each_seed, pattern_bytes};

/// One end as its application sees it. Each names its stream in the first eight bytes, so that a byte of another
/// connection, an earlier one on the same ports above all, would show.
struct Wild {
    host: NodeId,
    conn: Conn,
    stream: u64,
    written: u64,
    /// What was read of the other end's name, and how much of its stream.
    their_name: Vec<u8>,
    read: u64,
    finished: bool,
    over: bool,
    checked: bool,
}

impl Wild {
    fn new(host: NodeId, conn: Conn, stream: u64, checked: bool) -> Wild {
        let their_name = Vec::new();
        Wild { host, conn, stream, written: 0, their_name, read: 0, finished: false, over: false, checked }
    }

    fn act(&mut self, world: &mut World, rng: &mut Rng) {
        world.at(self.host, |host, now| self.use_host(host, now, rng));
    }

    fn use_host(&mut self, host: &mut dyn Host, now: Instant, rng: &mut Rng) {
        match rng.within(0..=99) {
            0..=39 if !self.finished => {
                let len = rng.within(1..=8_000) as usize;
                match host.write(now, self.conn, &named(self.stream, self.written, len)) {
                    Io::Done(count) => self.written += count as u64,
                    Io::Block => {}
                    Io::Failed(_) => self.finished = true,
                }
            }
            40..=79 => {
                let mut out = vec![0; rng.within(1..=10_000) as usize];
                if let Io::Done(count) = host.read(now, self.conn, &mut out) {
                    self.check(&out[..count]);
                }
            }
            80..=85 if !self.finished => {
                // An attempt that has failed can't be shut down; the next verb will tell.
                self.finished = host.finish(now, self.conn);
            }
            86..=88 => {
                host.release(now, self.conn);
                self.over = true;
            }
            89 => {
                host.abort(now, self.conn);
                self.over = true;
            }
            _ => {}
        }
    }

    fn check(&mut self, bytes: &[u8]) {
        let missing = 8 - self.their_name.len();
        self.their_name.extend(bytes.iter().take(missing));
        if !self.checked {
            return;
        }
        if let Ok(name) = <[u8; 8]>::try_from(&self.their_name[..]) {
            let sent = named(u64::from_le_bytes(name), self.read, bytes.len());
            assert!(bytes == sent, "bytes {}.. are not those that were sent", self.read);
        }
        self.read += bytes.len() as u64;
    }
}

/// A stretch of a stream that begins with its name.
fn named(stream: u64, from: u64, len: usize) -> Vec<u8> {
    let mut bytes = pattern_bytes(stream, from, len);
    for (at, byte) in stream.to_le_bytes().iter().enumerate().skip(from as usize).take(len) {
        bytes[at - from as usize] = *byte;
    }
    bytes
}

fn run(seed: u64) {
    let mut rng = Rng::from_number(seed);
    let start = Instant::from_nanos(rng.next_u64() >> 14);
    // With few ports each serves many connections, one right after the other. After a reset nothing remembers the
    // last one, and a late segment of it may then be taken for the new one's: no TCP without timestamps can tell.
    // So what is read is checked only where ports are many.
    let few_ports = rng.chance_ppm(500_000);
    let mut host = |net: &str| {
        let config = Config {
            recv_buffer: rng.within(1..=100_000) as usize,
            send_buffer: rng.within(1..=100_000) as usize,
            pages: rng.within(5..=200) as usize,
            syn_queue: rng.within(1..=6) as usize,
            time_wait_entries: rng.within(1..=6) as usize,
            connections: rng.within(3..=20) as usize,
            ephemeral_ports: if few_ports { 50_000..=50_009 } else { 32_768..=60_999 },
            r2: Duration::from_secs(60),
            ..Config::default()
        };
        let mut host = OurHost::new(config, rng.next_u64(), start, net, 1_500);
        host.options = if rng.chance_ppm(300_000) { |options| options.nodelay = true } else { |_| {} };
        host.node.busy = Ppm([0, 200_000][rng.within(0..=1) as usize]);
        Box::new(host) as Box<dyn Host>
    };
    let (client, server) = (host("10.9.0.1/24"), host("10.9.0.2/24"));
    let link = LinkConfig {
        delay: Duration::from_millis(u64::from(rng.within(0..=30))),
        loss: Loss::Random(Ppm([0, 20_000, 200_000][rng.within(0..=2) as usize])),
        duplicate: Ppm(rng.within(0..=50_000)),
        reorder: Ppm(rng.within(0..=100_000)),
        reorder_by: Duration::from_millis(50),
        ..LinkConfig::default()
    };
    let mut world = World::pair([client, server], [link.clone(), link], 1_500, seed, start);
    let [client, server] = [NodeId(0), NodeId(1)];
    world.accepts = false;
    world.host(server).listen(start, PORT);
    let mut wild: Vec<Wild> = Vec::new();
    for _ in 0..600 {
        let until = world.now() + Duration::from_millis(u64::from(rng.within(0..=40)));
        world.step_until(until);
        if rng.chance_ppm(60_000) {
            let to = std::net::SocketAddr::new(world.host(server).ip(), PORT);
            if let Some(conn) = world.at(client, |host, now| host.connect(now, to)) {
                wild.push(Wild::new(client, conn, rng.next_u64() >> 20, !few_ports));
            }
        }
        if rng.chance_ppm(300_000)
            && let Some(conn) = world.at(server, |host, now| host.accept(now))
        {
            wild.push(Wild::new(server, conn, rng.next_u64() >> 20, !few_ports));
        }
        for end in &mut wild {
            if rng.chance_ppm(300_000) && !end.over {
                end.act(&mut world, &mut rng);
            }
        }
    }
    for end in wild.iter().filter(|end| !end.over) {
        world.at(end.host, |host, now| host.release(now, end.conn));
    }
    // Whatever still waits to be accepted is nobody's.
    world.at(server, |host, now| host.close_listener(now));
    world.run_out(Duration::from_secs(1_000));
}

#[test]
fn wild_applications_leave_nothing_behind() {
    for_each_seed("wild_applications_leave_nothing_behind", 60, run);
}
