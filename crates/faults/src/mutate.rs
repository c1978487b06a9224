//! Bytes that are almost right: what a decoder must survive. Seeded, so that a failing input comes again.
//!
//! Each target gets mutants of real samples: bits and bytes changed, ranges cut out, doubled or mixed with another
//! sample's, and pieces of the formats put in. A run is short unless `APIARY_FUZZ_SECONDS` asks for more; then its seed
//! moves on, round by round.

use std::time::Duration;

use apiary_core::{Clock, Rng, SeededRng, SystemClock};

/// Mutants of a short run.
const MUTANTS: u64 = 4_000;

/// Longest mutant in bytes.
const MUTANT_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a failing input that are shown; its seed gives all of it again.
const SHOWN_BYTES_MAX: usize = 4 * 1024;

/// What decoders look for, and what is at the end of ranges.
const TOKENS: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\\u0000",
    b"\\",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"NaN",
    b"..",
    b"/",
    b"%2e",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"PAR1",
    b"'",
    b"--",
    b"/*",
    b"(",
    b")",
    b";",
    b"\xc3\xa4",
    b"\xed\xa0\x80",
];

/// One mutant of one of `samples`.
#[must_use]
pub fn mutant(samples: &[Vec<u8>], rng: &dyn Rng) -> Vec<u8> {
    let pick = |bound: usize| usize::try_from(rng.below(bound.max(1) as u64)).unwrap_or_default();
    let Some(mut bytes) = samples.get(pick(samples.len())).cloned() else { return Vec::new() };
    for _ in 0..=rng.below(5) {
        let at = pick(bytes.len());
        let end = (at + 1 + pick(32)).min(bytes.len());
        match rng.below(9) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
            2 if !bytes.is_empty() => bytes[at] = rng.below(256) as u8,
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            5 => bytes.truncate(at),
            6 => {
                let other = &samples[pick(samples.len())];
                let from = pick(other.len());
                let piece = other[from..(from + 1 + pick(64)).min(other.len())].to_vec();
                drop(bytes.splice(at..end, piece));
            }
            _ => drop(bytes.splice(at..at, TOKENS[pick(TOKENS.len())].iter().copied())),
        }
    }
    bytes.truncate(MUTANT_BYTES_MAX);
    bytes
}

/// Shows the input under which a target panics.
struct Blame<'a>(&'a str, &'a [u8]);

impl Drop for Blame<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = &self.1[..self.1.len().min(SHOWN_BYTES_MAX)];
            eprintln!("target {} fails on {} bytes: {}", self.0, self.1.len(), shown.escape_ascii());
        }
    }
}

/// Gives mutants of `samples` to `target`, which may answer what it likes and must not panic. Returns how many it took.
pub fn drive(name: &str, samples: &[Vec<u8>], target: impl Fn(&[u8])) -> u64 {
    drive_some(name, samples, MUTANTS, target)
}

/// The same with so many mutants in a short run: for a target that is slow.
pub fn drive_some(name: &str, samples: &[Vec<u8>], mutants: u64, target: impl Fn(&[u8])) -> u64 {
    for sample in samples {
        target(sample);
    }
    let long =
        std::env::var("APIARY_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let seed = std::env::var("APIARY_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rng = SeededRng::new(name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))));
    let start = SystemClock.monotonic();
    let mut done = 0;
    while done < mutants || long.is_some_and(|long| SystemClock.monotonic() - start < long) {
        let bytes = mutant(samples, &rng);
        let blame = Blame(name, &bytes);
        target(&bytes);
        drop(blame);
        done += 1;
    }
    eprintln!("target {name}: {done} mutants in {:.1} s", (SystemClock.monotonic() - start).as_secs_f64());
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_differ_and_come_again_with_their_seed() {
        let samples = [b"{\"a\":[1,2,3]}".to_vec(), vec![0; 40], Vec::new()];
        let all = || (0..500).map(|seed| mutant(&samples, &SeededRng::new(seed))).collect::<Vec<_>>();
        let (one, two) = (all(), all());
        assert_eq!(one, two);
        let different: std::collections::BTreeSet<_> = one.into_iter().collect();
        assert!(different.len() > 400, "{}", different.len());
        assert!(mutant(&[], &SeededRng::new(1)).is_empty());
    }

    #[test]
    #[should_panic(expected = "a bug")]
    fn a_target_that_panics_fails_the_run() {
        drive("bad", &[b"0123456789".to_vec()], |bytes| assert!(bytes.len() != 9, "a bug"));
    }
}
