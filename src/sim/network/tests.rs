//! Networks of nodes that only note what comes, and when.

use alloc::vec;

use super::*;

/// Sends what it is told at the time it is told, by port 0, and notes what comes.
#[derive(Debug, Default)]
struct Noter {
    to_send: Vec<(Instant, Vec<u8>)>,
    noted: Vec<(Instant, usize, Vec<u8>)>,
}

impl Node for Noter {
    fn receive(&mut self, now: Instant, port: usize, packet: &[u8]) {
        self.noted.push((now, port, packet.to_vec()));
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<(usize, Vec<u8>)>) -> bool {
        let before = out.len();
        while self.to_send.first().is_some_and(|(at, _)| *at <= now) {
            out.push((0, self.to_send.remove(0).1));
        }
        out.len() > before
    }

    fn deadline(&mut self, _now: Instant) -> Option<Instant> {
        self.to_send.first().map(|(at, _)| *at)
    }
}

const fn ms(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn slow(delay_ms: u64) -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(delay_ms), ..LinkConfig::default() }
}

/// Two nodes; the first sends a packet at each of these times, over 10 ms, and the second over 20 ms back.
fn pair(sends: &[u64]) -> (Network<Noter>, NodeId, NodeId, CableId) {
    let mut network = Network::new(ms(100));
    let to_send = sends.iter().map(|at| (ms(*at), vec![*at as u8])).collect();
    let a = network.add(Noter { to_send, ..Noter::default() });
    let b = network.add(Noter::default());
    let cable = network.join([Port { node: a, port: 0 }, Port { node: b, port: 3 }], [slow(10), slow(20)], 1);
    (network, a, b, cable)
}

#[test]
fn packets_arrive_at_the_other_ends_port_when_their_time_has_come() {
    let (mut network, a, b, _) = pair(&[105, 120]);
    network.node_mut(b).to_send.push((ms(107), vec![7]));
    // Port 0 of the second leads nowhere.
    network.run_for(Duration::from_millis(29), &mut ());
    assert_eq!(network.node(b).noted, [(ms(115), 3, vec![105])]);
    network.run_for(Duration::from_millis(1), &mut ());
    assert_eq!(network.node(b).noted, [(ms(115), 3, vec![105]), (ms(130), 3, vec![120])]);
    assert_eq!(network.node(a).noted, []);
    assert_eq!((network.now(), network.deadline()), (ms(130), None));
}

#[test]
fn who_sleeps_takes_what_has_come_when_it_wakes() {
    let (mut network, _, b, _) = pair(&[105, 106]);
    network.sleep(b, Duration::from_millis(50));
    network.run_for(Duration::from_millis(49), &mut ());
    assert!(network.sleeps(b));
    assert_eq!(network.node(b).noted, []);
    network.run_for(Duration::from_millis(10), &mut ());
    assert_eq!(network.node(b).noted, [(ms(150), 3, vec![105]), (ms(150), 3, vec![106])]);
}

#[test]
fn a_clock_that_was_set_forward_brings_what_was_due_later() {
    let (mut network, a, b, _) = pair(&[105, 190]);
    network.set_forward(a, Duration::from_millis(80));
    assert_eq!(network.now_at(a), ms(180));
    // The first is overdue, the second due in ten.
    assert_eq!(network.deadline(), Some(ms(25)));
    network.run_for(Duration::from_millis(20), &mut ());
    assert_eq!(network.node(b).noted, [(ms(110), 3, vec![105]), (ms(120), 3, vec![190])]);
}

#[test]
fn a_cable_that_is_interrupted_carries_nothing_and_says_so() {
    #[derive(Default)]
    struct Fates(Vec<Fate>, usize);
    impl Watch for Fates {
        fn sent(&mut self, _sight: &Sight<'_>, fate: Fate) {
            self.0.push(fate);
        }
        fn arrived(&mut self, _sight: &Sight<'_>) {
            self.1 += 1;
        }
    }
    let (mut network, _, b, cable) = pair(&[105, 115, 125, 135]);
    let mut fates = Fates::default();
    network.run_for(Duration::from_millis(6), &mut fates);
    network.link_mut(cable, Direction::There).set_up(false);
    network.run_for(Duration::from_millis(10), &mut fates);
    network.link_mut(cable, Direction::There).set_up(true);
    network.run_for(Duration::from_millis(10), &mut fates);
    network.link_mut(cable, Direction::There).configure(LinkConfig { mtu: Some(0), ..slow(10) });
    network.run_for(Duration::from_millis(100), &mut fates);
    assert_eq!(fates.0, [Fate::Carried, Fate::Interrupted, Fate::Carried, Fate::TooLarge]);
    assert_eq!((fates.1, network.node(b).noted.len()), (2, 2));
}
