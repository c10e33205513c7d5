//! A peer that sends anything and an application that does anything: nothing panics, no text is mixed up, no
//! deadline stands still, and nothing is left behind.

#[expect(dead_code, reason = "the harness serves the scripts of `virtual`, too")]
#[path = "virtual/harness/mod.rs"]
mod harness;

mod support {
    pub(crate) mod seeds;
    pub(crate) mod wire;
}

use std::time::Duration;

use proptest::prelude::*;
use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::KeepAlive;

use harness::script::Script;

#[derive(Clone, Debug)]
enum Step {
    Peer { flags: &'static str, seq: i64, len: usize, ack: Option<i64>, win: u16, urg: u16 },
    Write(usize),
    Read(usize),
    ShutRead,
    ShutWrite,
    Close,
    Abort,
    Busy(bool),
    Run(u64),
    Nodelay(bool),
    KeepAlive(bool),
    UserTimeout(bool),
    Linger,
    Mtu(usize),
}

fn seq() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => (0i64..6).prop_map(|n| 1 + n * 500),
        2 => -2i64..3000,
        1 => 60_000i64..70_000,
        1 => any::<u32>().prop_map(i64::from),
    ]
}

fn ack() -> impl Strategy<Value = i64> {
    prop_oneof![6 => (0i64..8).prop_map(|n| 1 + n * 1460), 4 => -2i64..6000, 1 => any::<u32>().prop_map(i64::from)]
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        20 => Just("A"), 5 => Just("PA"), 5 => Just("FA"), 2 => Just("UA"), 1 => Just("R"), 1 => Just("RA"), 1 => Just("S"),
        1 => Just("SA"), 1 => Just("-"), 1 => Just("F"), 1 => Just("SFA"), 1 => Just("RSFPUA"),
    ];
    let len = prop_oneof![4 => Just(0usize), 4 => Just(500usize), 2 => 1usize..1460];
    let win = prop_oneof![4 => Just(65_535u16), 3 => Just(0u16), 3 => 1u16..3000, 1 => any::<u16>()];
    prop_oneof![
        40 => (flags, seq(), len, ack(), win, any::<u16>()).prop_map(|(flags, seq, len, ack, win, urg)| {
            let ack = flags.contains('A').then_some(ack);
            Step::Peer { flags, seq, len, ack, win, urg }
        }),
        8 => (1usize..4000).prop_map(Step::Write),
        8 => (1usize..4000).prop_map(Step::Read),
        1 => Just(Step::ShutRead),
        2 => Just(Step::ShutWrite),
        1 => Just(Step::Close),
        1 => Just(Step::Abort),
        4 => any::<bool>().prop_map(Step::Busy),
        8 => prop_oneof![1u64..50, 100u64..1000, 1000u64..100_000].prop_map(Step::Run),
        1 => any::<bool>().prop_map(Step::Nodelay),
        1 => any::<bool>().prop_map(Step::KeepAlive),
        1 => any::<bool>().prop_map(Step::UserTimeout),
        1 => Just(Step::Linger),
        1 => (68usize..3000).prop_map(Step::Mtu),
    ]
}

fn peer_line(flags: &str, seq: i64, len: usize, ack: Option<i64>, win: u16, urg: u16) -> String {
    // Text before the stream's first byte is none that the harness could check.
    let seq = match seq as u32 as i32 {
        before @ -1460..1 if len > 0 => before.max(1),
        seq => seq,
    };
    let text = if len == 0 { String::new() } else { format!(":{}", i64::from(seq) + len as i64) };
    let mut line = format!("{flags} {seq}{text}");
    if let Some(ack) = ack {
        line += &format!(" ack {}", ack as u32 as i32);
    }
    line += &format!(" win {win}");
    if flags.contains('U') {
        line += &format!(" urg {urg}");
    }
    line
}

fn run(t: &mut Script, held: &mut bool, step: Step) {
    match step {
        Step::Peer { flags, seq, len, ack, win, urg } => t.inject(&peer_line(flags, seq, len, ack, win, urg)),
        Step::Busy(busy) => {
            t.busy = busy;
            t.flush();
        }
        Step::Run(ms) => t.run(ms),
        Step::Mtu(mtu) => t.stack.set_mtu(t.device, mtu),
        _ if !*held => {}
        Step::Write(len) => drop(t.write_some(len)),
        Step::Read(len) => drop(t.read_some(len)),
        Step::ShutRead | Step::ShutWrite => {
            let how = if matches!(step, Step::ShutRead) { Shutdown::Read } else { Shutdown::Write };
            let (now, id) = (t.now(), t.id());
            let _ = t.stack.tcp_shutdown(now, id, how);
            t.flush();
        }
        Step::Close => {
            *held = false;
            t.close();
        }
        Step::Abort => {
            *held = false;
            t.abort();
        }
        Step::Nodelay(on) => t.options(|options| options.nodelay = on),
        Step::KeepAlive(on) => {
            let settings =
                KeepAlive { idle: Duration::from_secs(2), interval: Duration::from_secs(1), probes: 3 };
            t.options(|options| options.keepalive = on.then_some(settings));
        }
        Step::UserTimeout(on) => {
            t.options(|options| options.user_timeout = on.then_some(Duration::from_secs(20)));
        }
        Step::Linger => t.options(|options| options.linger = Some(Duration::ZERO)),
    }
    t.take_all();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_panics_hangs_or_is_left_behind(
        small in any::<bool>(),
        pages in prop_oneof![Just(1usize), Just(3), Just(1000)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut t = Script::config(|config| {
            config.recv_buffer = if small { 3000 } else { 65_535 };
            config.pages = pages;
            config.reassembly_ranges = 4;
        });
        t.open();
        let mut held = true;
        for step in steps {
            run(&mut t, &mut held, step);
        }
        t.busy = false;
        t.flush();
        t.take_all();
    }
}
