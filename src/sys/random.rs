//! Seeds from the kernel.

use std::fs::File;
use std::io::Read;

/// A seed that is nobody else's.
pub fn seed() -> [u64; 4] {
    let mut bytes = [0; 32];
    // It is there wherever weir can start at all. Were it not, the clock would have to do.
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    let clock = if read.is_err() { super::clock::now().as_us() } else { 0 };
    let (words, _) = bytes.as_chunks::<8>();
    let mut seed = [clock; 4];
    for (seed, word) in seed.iter_mut().zip(words) {
        *seed ^= u64::from_le_bytes(*word);
    }
    seed
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_seeds_are_the_same() {
        assert_ne!(super::seed(), super::seed());
    }
}
