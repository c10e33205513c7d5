use core::time::Duration;
use tunstack::proto::stack::Shutdown;
use tunstack::proto::*;
use tunstack::time::Instant;
fn mk(seed: u64, addr: &str) -> (Stack, DeviceId) {
    let mut s = Stack::new(Config::default(), &Secrets::from_number(seed), Instant::ZERO);
    let d = s.add_interface(1500);
    s.add_address(d, addr.parse().unwrap()).unwrap();
    s.trace().set_level(trace::TraceLevel::Trace);
    (s, d)
}
#[test]
fn smoke() {
    let (mut a, da) = mk(1, "10.9.0.1/24");
    let (mut b, db) = mk(2, "10.9.0.2/24");
    let mut now = Instant::from_millis(1);
    let l = b.tcp_listen(now, "10.9.0.2:7".parse().unwrap(), None, Owner(0)).unwrap();
    let c = a.tcp_connect(now, None, "10.9.0.2:7".parse().unwrap(), None, Owner(0)).unwrap();
    let mut sent = 0usize;
    let total = 3_000_000usize;
    let mut got = 0usize;
    let mut srv = None;
    let mut fin = false;
    let mut done = false;
    let data: Vec<u8> = (0..total).map(|i| (i * 7 % 251) as u8).collect();
    let mut buf = vec![0; 65536];
    for step in 0..200_000 {
        let mut ab: Vec<Vec<u8>> = vec![];
        let mut ba: Vec<Vec<u8>> = vec![];
        let _ = a.transmit(now, &mut |e: Egress<'_>| {
            let mut v = vec![];
            e.copy_to(&mut v);
            ab.push(v);
            Sent::Taken
        });
        let _ = b.transmit(now, &mut |e: Egress<'_>| {
            let mut v = vec![];
            e.copy_to(&mut v);
            ba.push(v);
            Sent::Taken
        });
        let quiet = ab.is_empty() && ba.is_empty();
        now += Duration::from_micros(50);
        for (i, p) in ab.iter().enumerate() {
            if step > 20 && (step + i) % 97 == 0 {
                continue;
            }
            b.receive(db, &Packet::plain(p, now));
        }
        for p in &ba {
            a.receive(da, &Packet::plain(p, now));
        }
        if quiet {
            let d = [a.deadline(), b.deadline()].into_iter().flatten().min();
            match d {
                Some(d) => {
                    if d > now {
                        now = d
                    }
                }
                None => {
                    if done {
                        break;
                    }
                }
            }
        }
        a.advance(now);
        b.advance(now);
        while let Some(e) = a.next_event() {
            let _ = e;
        }
        while let Some(e) = b.next_event() {
            let _ = e;
        }
        if srv.is_none() {
            if let Ok((id, _)) = b.tcp_accept(now, l) {
                srv = Some(id)
            }
        }
        if sent < total {
            if let Ok(n) = a.tcp_write(now, c, &data[sent..]) {
                sent += n
            }
        } else if !fin {
            a.tcp_shutdown(now, c, Shutdown::Write).unwrap();
            fin = true
        }
        if let Some(s) = srv {
            loop {
                match b.tcp_read(now, s, &mut buf) {
                    Ok(0) => {
                        if !done {
                            b.tcp_close(now, s);
                            done = true;
                            a.tcp_close(now, c);
                        }
                        break;
                    }
                    Ok(n) => {
                        assert_eq!(&buf[..n], &data[got..got + n]);
                        got += n
                    }
                    Err(_) => break,
                }
            }
        }
    }
    for s in [&mut a, &mut b] {
        let (r, _) = s.trace().take();
        for (t, r) in r.iter().take(60) {
            println!("{t:?} {r:?}")
        }
        println!("---")
    }
    println!("now {now:?} got {got} {:?} {:?}", a.tcp_census(), b.tcp_census());
    println!("{:?}", a.counters());
    assert_eq!(got, total);
    assert_eq!(a.tcp_census().sockets + b.tcp_census().sockets, 0);
    assert_eq!(
        a.tcp_census().pages + b.tcp_census().pages + a.tcp_census().timers + b.tcp_census().timers,
        0
    );
}
