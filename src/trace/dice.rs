//! Random bits out of a seed: for ids, which must be unlike each other but are no secrets.

/// xoshiro256++ (Blackman and Vigna, 2019): 256 bits of state, and it never waits. Whoever sees enough of its
/// numbers can tell the next: nothing may depend on nobody being able to.
#[derive(Clone, Debug)]
pub struct Dice([u64; 4]);

impl Dice {
    /// Two with the same seed draw the same. One of zeros would draw nothing else.
    pub fn new(seed: [u64; 4]) -> Self {
        Self([seed[0] | 1, seed[1], seed[2], seed[3]])
    }

    /// The next 64 bits.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }
}
