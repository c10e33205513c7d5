//! What befalls a network while it lives: partitions, machines that stop, start anew or leap in time, paths that change.

use std::time::Duration;

use tunstack::rng::Rng;
use tunstack::sim::{Direction, LinkConfig, NodeId};
use tunstack::time::Instant;

use super::{Internet, draw};

/// How long things have befallen, and what is to be mended.
pub(super) struct Disturbances {
    /// How often something happens, in parts of a million of the occasions.
    often: u32,
    /// What is left of the time in which nobody may be heard: connections live through it, since it is far less than R2.
    budget: Duration,
    interrupted: Vec<(Instant, usize, Direction)>,
    /// Until then no handshake is sure to succeed.
    hard_until: Instant,
}

/// In all, that nobody hears of another. R2 is 924 seconds, and time-outs grow to two minutes.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// What a handshake may not live through: our SYN-ACK is sent for a minute, as are probes of keep-alive.
const LONG: Duration = Duration::from_secs(10);

impl Disturbances {
    pub(super) fn draw(rng: &mut Rng) -> Disturbances {
        let often = [0, 50_000, 300_000][rng.within(0..=2) as usize];
        Disturbances { often, budget: SILENCE_MAX, interrupted: Vec::new(), hard_until: Instant::ZERO }
    }

    /// An occasion for something to happen, or to end.
    pub(super) fn happen(&mut self, internet: &mut Internet) {
        self.mend(internet);
        if internet.world.now() < self.hard_until || internet.has_bursts() {
            internet.world.handshakes_may_fail();
        }
        if !internet.rng.chance_ppm(self.often) {
            return;
        }
        match internet.rng.within(0..=5) {
            0 => self.interrupt(internet),
            1 => reboot(internet),
            2 => self.sleep(internet),
            3 => self.set_forward(internet),
            4 => change_path(internet),
            _ => self.black_hole(internet),
        }
    }

    /// Ends what has not ended.
    pub(super) fn end(&mut self, internet: &mut Internet) {
        self.interrupted.clear();
        // Until everybody is awake.
        let awake = |internet: &Internet| {
            let network = &internet.world.network;
            network.nodes().all(|node| !network.sleeps(node))
        };
        while !awake(internet) {
            internet.world.run_for(Duration::from_secs(1));
        }
    }

    fn mend(&mut self, internet: &mut Internet) {
        let now = internet.world.now();
        let (over, rest) = self.interrupted.drain(..).partition(|(until, ..)| *until <= now);
        self.interrupted = rest;
        for (_, wire, direction) in over as Vec<_> {
            let cable = internet.cables[wire];
            internet.world.network.link_mut(cable, direction).set_up(true);
        }
    }

    /// A time that the budget allows for.
    fn some_time(&mut self, internet: &mut Internet) -> Duration {
        let most = if internet.rng.chance_ppm(300_000) { 150_000 } else { 3_000 };
        let time = draw::millis(&mut internet.rng, 1, most).min(self.budget);
        self.budget -= time;
        if time > LONG {
            self.hard_until = self.hard_until.max(internet.world.now() + time);
            internet.world.handshakes_may_fail();
        }
        time
    }

    /// One direction or both, and everything that lies behind it.
    fn interrupt(&mut self, internet: &mut Internet) {
        let wire = internet.rng.within(0..=internet.cables.len() as u32 - 1) as usize;
        let time = self.some_time(internet);
        let directions = match internet.rng.within(0..=3) {
            0 => &Direction::BOTH[..1],
            1 => &Direction::BOTH[1..],
            _ => &Direction::BOTH[..],
        };
        for direction in directions {
            let cable = internet.cables[wire];
            internet.world.network.link_mut(cable, *direction).set_up(false);
            self.interrupted.push((internet.world.now() + time, wire, *direction));
        }
        let end = internet.plan.wires[wire].ends[0];
        internet.world.tell(NodeId(end), &format!("a cable is interrupted for {time:?}: {directions:?}"));
    }

    fn sleep(&mut self, internet: &mut Internet) {
        let (node, time) = (any_node(internet), self.some_time(internet));
        internet.world.network.sleep(node, time);
        internet.world.tell(node, &format!("sleeps for {time:?}"));
        internet.world.report.fault("sleep", 1);
    }

    fn set_forward(&mut self, internet: &mut Internet) {
        let (node, time) = (any_node(internet), self.some_time(internet));
        internet.world.network.set_forward(node, time);
        internet.world.tell(node, &format!("its clock is set forward by {time:?}"));
        internet.world.report.fault("clock step", 1);
    }

    /// Large packets vanish without a word, until everything heals. A client whose last ACK of a handshake is lost has
    /// nothing but large ones to say so with.
    fn black_hole(&mut self, internet: &mut Internet) {
        let wire = internet.rng.within(0..=internet.cables.len() as u32 - 1) as usize;
        let direction = Direction::BOTH[internet.rng.within(0..=1) as usize];
        let link = internet.world.network.link(internet.cables[wire], direction);
        let mtu = Some(internet.plan.wires[wire].mtu - internet.rng.within(1..=200) as usize);
        let config = LinkConfig { mtu, ..link.config().clone() };
        internet.configure(wire, direction, config);
        self.hard_until = Instant::MAX;
        internet.world.handshakes_may_fail();
        internet.world.tell(NodeId(internet.plan.wires[wire].ends[0]), "large packets vanish");
    }
}

fn any_node(internet: &mut Internet) -> NodeId {
    NodeId(internet.rng.within(0..=internet.plan.nodes as u32 - 1) as usize)
}

fn reboot(internet: &mut Internet) {
    let node = any_node(internet).0;
    if !internet.world.network.sleeps(NodeId(node)) {
        internet.reboot(node);
    }
}

fn change_path(internet: &mut Internet) {
    let wire = internet.rng.within(0..=internet.cables.len() as u32 - 1) as usize;
    let direction = Direction::BOTH[internet.rng.within(0..=1) as usize];
    let config = internet.switches.link(wire, &mut internet.rng);
    internet.configure(wire, direction, config);
    internet.world.tell(NodeId(internet.plan.wires[wire].ends[0]), "a path is another one");
    internet.world.report.fault("change of path", 1);
}
