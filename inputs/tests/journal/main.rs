//! Journals: stored, followed, damaged, and written by a real journald.

#![allow(clippy::unwrap_used, reason = "clippy does not know helpers of tests")]

mod damage;
mod follow;
mod live;
mod rows;
mod stored;
