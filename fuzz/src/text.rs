//! What streams carry: octets by which their place can be told.

use std::sync::LazyLock;

use tunstack::rng::Rng;

/// A prime, so that no window or page divides it.
const NOISE_LEN: usize = 131_071;

/// Without a period that a protocol could hide behind. All at once, since a fuzzer counts every turn of a loop.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = Rng::from_number(0x7e57);
    (0..NOISE_LEN.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(NOISE_LEN).collect()
});

/// The octets of a stream from a place on; places wrap as sequence numbers do.
pub(crate) fn text(stream: usize, from: u32, len: usize) -> Vec<u8> {
    let mut octets = Vec::with_capacity(len);
    let mut place = from;
    while octets.len() < len {
        let noise = &NOISE[(place as usize + stream * 7_773) % NOISE_LEN..];
        let to_the_wrap = (u32::MAX - place) as usize + 1;
        let count = noise.len().min(to_the_wrap).min(len - octets.len());
        octets.extend_from_slice(&noise[..count]);
        place = place.wrapping_add(count as u32);
    }
    octets
}
