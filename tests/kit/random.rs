//! Randomness that can be repeated.

/// Randomness that a seed repeats (splitmix64).
pub struct Random(u64);

impl Random {
    /// Seeded by `DENYD_SEED`, else by chance; prints the seed.
    pub fn new() -> Self {
        let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8);
        let seed = std::env::var("DENYD_SEED").map_or(chance, |seed| seed.parse().unwrap());
        eprintln!("DENYD_SEED={seed}");
        Random(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}
