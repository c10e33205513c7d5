//! The codec against a reader that goes from octet to octet, on every short string and every short list of options.

use alloc::vec;
use alloc::vec::Vec;

use super::*;

/// What the reader has found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    mss: Option<u64>,
    window_scale: Option<u64>,
    sack_permitted: bool,
    timestamps: Option<(u64, u64)>,
    sack: Vec<(u64, u64)>,
}

/// RFC 9293 section 3.1 to the letter. `None` if a length can't be.
fn naive(bytes: &[u8]) -> Option<Found> {
    let mut found = Found::default();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != 0 {
        if bytes[at] == 1 {
            at += 1;
            continue;
        }
        if at + 1 == bytes.len() {
            return None;
        }
        let (kind, len) = (bytes[at], usize::from(bytes[at + 1]));
        if len < 2 || at + len > bytes.len() {
            return None;
        }
        let number = |from: usize, to: usize| (from..to).fold(0, |n, i| 256 * n + u64::from(bytes[at + i]));
        if kind == 2 && len == 4 {
            found.mss = Some(number(2, 4));
        }
        if kind == 3 && len == 3 {
            found.window_scale = Some(number(2, 3));
        }
        if kind == 4 && len == 2 {
            found.sack_permitted = true;
        }
        if kind == 8 && len == 10 {
            found.timestamps = Some((number(2, 6), number(6, 10)));
        }
        if kind == 5 && (len - 2) % 8 == 0 {
            let edges = |block: usize| (number(block, block + 4), number(block + 4, block + 8));
            // No more than a header has room for.
            found.sack = (2..len).step_by(8).map(edges).take(4).collect();
        }
        at += len;
    }
    Some(found)
}

/// The codec's answer in the reader's terms.
fn told(options: &TcpOptions) -> Found {
    let number = |nr: SeqNr| u64::from(nr.0);
    Found {
        mss: options.mss.map(u64::from),
        window_scale: options.window_scale.map(u64::from),
        sack_permitted: options.sack_permitted,
        timestamps: options.timestamps.map(|(value, echo)| (value.into(), echo.into())),
        sack: options.sack.iter().map(|(left, right)| (number(*left), number(*right))).collect(),
    }
}

/// Reads with both, and tells whether the string was good.
fn compare(bytes: &[u8]) -> bool {
    let (ours, theirs) = (TcpOptions::parse(bytes).ok(), naive(bytes));
    // Most strings say nothing, which is told sooner.
    let says_nothing = ours.as_ref().is_some_and(TcpOptions::is_empty) && theirs == Some(Found::default());
    assert!(says_nothing || ours.as_ref().map(told) == theirs, "{bytes:02x?}: {ours:?} {theirs:?}");
    theirs.is_some()
}

/// Calls for every string of `len` octets of an alphabet.
fn every_string(alphabet: &[u8], len: usize, f: &mut impl FnMut(&[u8])) {
    let mut digits = vec![0; len];
    let mut bytes = vec![alphabet[0]; len];
    loop {
        f(&bytes);
        // Counts on, the last digit first.
        let Some(at) = digits.iter().rposition(|digit| digit + 1 < alphabet.len()) else { return };
        digits[at] += 1;
        digits[at + 1..].fill(0);
        for (byte, digit) in bytes[at..].iter_mut().zip(&digits[at..]) {
            *byte = alphabet[*digit];
        }
    }
}

//= RFC9293 MUST-6, MUST-7, MUST-68
#[test]
fn every_string_of_up_to_two_octets_and_of_three_that_tell_is_read_as_the_rfc_says() {
    let all: Vec<u8> = (0..=255).collect();
    let mut good = [0_u32; 4];
    for (len, good) in good[..3].iter_mut().enumerate() {
        every_string(&all, len, &mut |bytes| *good += u32::from(compare(bytes)));
    }
    // Where the first two mean something the third may be any, else one of those that may tell.
    let third: Vec<u8> = (0..=11).chain([127, 128, 254, 255]).collect();
    every_string(&all, 2, &mut |bytes| {
        for last in &third {
            good[3] += u32::from(compare(&[bytes[0], bytes[1], *last]));
        }
    });
    every_string(&third, 2, &mut |bytes| {
        for last in &all {
            compare(&[bytes[0], bytes[1], *last]);
        }
    });
    // One: END, NOP. Two: END and any, NOP and either, 254 kinds of length 2. Three: END and any two, NOP and two that
    // are good, 254 kinds of length 2 before END or NOP, or of length 3.
    let two = |second: u32| second + 2 + 254;
    assert_eq!(good, [1, 2, two(256), 256 * 16 + two(16) + 254 * (2 + 16)]);
}

/// What most SYNs say is read at once, unless anything is different.
#[test]
fn a_usual_syn_and_whatever_differs_from_it_in_one_octet_or_in_length_is_read_as_the_rfc_says() {
    let usual = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 1, 3, 3, 7];
    assert!(compare(&usual));
    for at in 0..usual.len() {
        for byte in 0..=255 {
            let mut other = usual;
            other[at] = byte;
            compare(&other);
        }
        compare(&usual[..at]);
    }
    for more in [0, 1, 2, 5] {
        compare(&[&usual[..], &[more; 4]].concat());
    }
}

/// Kinds and lengths that mean something, one that doesn't, and one past every end.
//= RFC9293 MUST-64
#[test]
fn every_string_of_telling_octets_is_read_as_the_rfc_says() {
    let mut good = 0_u32;
    for len in 0..=6 {
        every_string(&[0, 1, 2, 3, 4, 5, 8, 10, 34, 255], len, &mut |bytes| {
            good += u32::from(compare(bytes))
        });
    }
    for len in 7..=9 {
        every_string(&[1, 2, 3, 4, 7], len, &mut |bytes| good += u32::from(compare(bytes)));
    }
    assert!((100_000..2_000_000).contains(&good), "{good} are good");
}

/// Options right and wrong, whose values tell where they were read.
fn catalogue() -> Vec<Vec<u8>> {
    let body = |kind: u8, len: u8| {
        let values = (0..len.saturating_sub(2)).map(|n| n.wrapping_mul(37) ^ kind ^ len);
        [kind, len].into_iter().chain(values).collect::<Vec<u8>>()
    };
    let lengths = [
        (2, &[2, 3, 4, 5][..]),
        (3, &[2, 3, 4]),
        (4, &[2, 3]),
        (5, &[2, 9, 10, 11, 18, 34]),
        (8, &[9, 10, 11]),
        (34, &[0, 1, 2, 10]),
    ];
    let known = lengths.iter().flat_map(|(kind, lens)| lens.iter().map(|len| body(*kind, *len)));
    known.chain([vec![0], vec![1]]).collect()
}

#[test]
fn every_list_of_up_to_three_options_is_read_whole_or_cut_and_written_again() {
    let catalogue = catalogue();
    let places: Vec<u8> = (0..catalogue.len() as u8).collect();
    let mut good = 0_u32;
    for len in 0..=3 {
        every_string(&places, len, &mut |list| {
            let bytes: Vec<u8> =
                list.iter().flat_map(|place| &catalogue[usize::from(*place)]).copied().collect();
            let cut = &bytes[..bytes.len().saturating_sub(1)];
            compare(cut);
            if compare(&bytes) {
                good += 1;
                assert_written_again(&TcpOptions::parse(&bytes).unwrap());
            }
        });
    }
    assert!(good > 5000, "{good} are good");
}

/// But for SACK blocks that find no room beside the others.
fn assert_written_again(options: &TcpOptions) {
    let mut out = HeaderBuf::new();
    options.write(&mut out);
    assert!(out.len() == options.len() && out.len() <= OPTIONS_LEN_MAX && out.len() % 4 == 0, "{options:?}");
    let (again, mut expected) = (naive(&out).unwrap(), told(options));
    assert_eq!(naive(&out), Some(told(&TcpOptions::parse(&out).unwrap())));
    let others = TcpOptions { sack: ArrayVec::new(), ..options.clone() }.len();
    expected.sack.truncate((OPTIONS_LEN_MAX - others).saturating_sub(4) / 8);
    assert_eq!(again, expected);
}
