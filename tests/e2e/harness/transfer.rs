//! Long streams of bytes, and whether they arrive as they were sent: by SHA-256.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use sha2::{Digest, Sha256};

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// The next bytes of a stream that repeats nowhere near.
pub(crate) fn fill(chunk: &mut [u8], state: &mut u64) {
    for word in chunk.chunks_mut(8) {
        // xorshift64 (Marsaglia): not random, but every chunk differs from every other.
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

/// Writes `size` bytes of the stream that `seed` (not 0) begins; returns their hash.
pub(crate) fn send(mut to: impl Write, size: usize, seed: u64) -> Hash {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 64 << 10];
    let (mut state, mut left) = (seed, size);
    while left > 0 {
        let piece = chunk.len().min(left);
        fill(&mut chunk[..piece], &mut state);
        hash.update(&chunk[..piece]);
        to.write_all(&chunk[..piece]).expect("the connection stands");
        left -= piece;
    }
    hash.finalize().into()
}

/// Reads to the end of stream; returns how much came, and its hash.
pub(crate) fn receive(mut from: impl Read) -> (usize, Hash) {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let read = from.read(&mut buffer).expect("the connection stands");
        if read == 0 {
            return (total, hash.finalize().into());
        }
        total += read;
        hash.update(&buffer[..read]);
    }
}

/// Moves `size` bytes each way at the same time between the ends of a connection of kernels, and compares hashes.
pub(crate) fn exchange(near: &TcpStream, far: &TcpStream, size: usize) {
    let send_all = |stream: &TcpStream, seed| {
        let hash = send(stream, size, seed);
        stream.shutdown(Shutdown::Write).expect("the connection stands");
        hash
    };
    thread::scope(|scope| {
        let up = scope.spawn(|| send_all(near, 1));
        let down = scope.spawn(|| send_all(far, 2));
        let at_far = scope.spawn(|| receive(far));
        let at_near = receive(near);
        assert_eq!(at_near, (size, down.join().expect("the sender ends")), "towards who has connected");
        let at_far = at_far.join().expect("the receiver ends");
        assert_eq!(at_far, (size, up.join().expect("the sender ends")), "from who has connected");
    });
}
