//! The parser of TCP options, against one that takes its time.

use tunstack::proto::wire::HeaderBuf;
use tunstack::proto::wire::tcp::SeqNr;
use tunstack::proto::wire::tcp_options::{OPTIONS_LEN_MAX, TcpOptions};

/// `data` is the options of a header.
pub fn run(data: &[u8]) {
    let parsed = TcpOptions::parse(data).ok();
    assert_eq!(parsed, slowly_parsed(data));
    let Some(options) = parsed else { return };

    let mut written = HeaderBuf::new();
    options.write(&mut written);
    assert_eq!(written.len(), options.len());
    assert!(written.len() <= OPTIONS_LEN_MAX && written.len() % 4 == 0);
    assert_eq!(written.is_empty(), options.is_empty());
    let again = TcpOptions::parse(&written).expect("what was written can be read");
    // SACK blocks are the only options that there may be no room for; the first of them are kept.
    assert!(options.sack.starts_with(&again.sack));
    let room = OPTIONS_LEN_MAX - TcpOptions { sack: Default::default(), ..options.clone() }.len();
    let fit = options.sack.len().min(room.saturating_sub(4) / 8);
    assert_eq!(again.sack.len(), fit);
    assert_eq!(TcpOptions { sack: options.sack.clone(), ..again }, options);
}

/// First the list is taken apart, then each kind is looked for from the back.
fn slowly_parsed(data: &[u8]) -> Option<TcpOptions> {
    let mut found: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut at = 0;
    while at < data.len() && data[at] != 0 {
        if data[at] == 1 {
            at += 1;
            continue;
        }
        let len = usize::from(*data.get(at + 1)?);
        if len < 2 || at + len > data.len() {
            return None;
        }
        found.push((data[at], data[at + 2..at + len].to_vec()));
        at += len;
    }
    let last = |kind: u8, fits: fn(usize) -> bool| {
        found.iter().rev().find(|(known, body)| *known == kind && fits(body.len())).map(|(_, body)| body)
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
    let blocks = last(5, |len| len % 8 == 0);
    Some(TcpOptions {
        mss: last(2, |len| len == 2).map(|body| number(body) as u16),
        window_scale: last(3, |len| len == 1).map(|body| body[0]),
        sack_permitted: last(4, |len| len == 0).is_some(),
        timestamps: last(8, |len| len == 8).map(|body| (number(&body[..4]), number(&body[4..]))),
        sack: blocks
            .into_iter()
            .flat_map(|body| body.chunks(8))
            .take(4)
            .map(|block| (SeqNr(number(&block[..4])), SeqNr(number(&block[4..]))))
            .collect(),
    })
}
