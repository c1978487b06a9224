//! The one file that reads chance.
//!
//! Whoever needs a random number takes a [`Rng`]; production passes [`SystemRng`], tests pass a seed. Not for
//! secrets that must resist an attacker with a clock: those come from [`Rng::fill`] on [`SystemRng`], which is
//! the operating system's generator.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random numbers, shared between tasks.
pub trait Rng: Send + Sync + std::fmt::Debug {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;

    /// A number below `bound`; 0 if `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        // The bias of a modulus over 64 bits is far below anything that back-off or ids could notice.
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// Fills `bytes` with random bits.
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// The operating system's generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn next_u64(&self) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "this is the one file that reads chance")]
        let bytes = uuid::Uuid::new_v4().into_bytes();
        // A version 4 uuid fixes six bits, all of them in bytes 6 and 8: fold the two halves so that none shows.
        let (high, low) = bytes.split_at(8);
        let word = |half: &[u8]| half.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        word(high) ^ word(low).rotate_left(32)
    }
}

/// SplitMix64 from a seed (Steele, Lea and Flood, 2014): the same seed gives the same numbers, for tests.
#[derive(Debug)]
pub struct SeededRng(AtomicU64);

impl SeededRng {
    /// A generator that starts at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (a, b) = (SeededRng::new(7), SeededRng::new(7));
        assert_eq!((0..9).map(|_| a.next_u64()).collect::<Vec<_>>(), (0..9).map(|_| b.next_u64()).collect::<Vec<_>>());
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        assert_ne!(SystemRng.next_u64(), SystemRng.next_u64());
    }

    #[test]
    fn below_zero_is_zero() {
        assert_eq!(SeededRng::new(1).below(0), 0);
        assert!((0..100).all(|_| SeededRng::new(3).below(5) < 5));
    }
}
