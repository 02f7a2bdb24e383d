//! What strangers may have made up never takes the room of what they cannot have.
//!
//! Each bound that records can reach is split by one of two rules. Where the two can be told apart later, what is
//! forgeable has a room of its own: counts, denies, nets, connections. Where they cannot, as among names that have
//! numbers, it fills the common one up to its part and no further. Senders and shapes are known by input, and an input
//! is forgeable or not; what was delivered twice is known by input and trust.

/// The part of a bound that is for what strangers may have made up.
pub const fn forgeable(bound: usize) -> usize {
    bound / 16
}

/// Whether one more fits where `known` are, for good or made up.
pub fn fits(known: usize, bound: usize, is_forgeable: bool) -> bool {
    known < if is_forgeable { forgeable(bound) } else { bound }
}
