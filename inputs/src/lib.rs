//! The world's logs, as records.
//!
//! Every [`Input`](input::Input) ends in the same two types: a [`Batch`](record::Batch) of parsed records with the
//! [`Cursor`](cursor::Cursor) behind its last one, and the [`Record`](record::Record) that is the view of each. Nothing
//! here knows what sshd is, what an attempt is, or who is denied.

pub mod cursor;
pub mod file;
pub mod input;
pub mod journald;
pub mod log;
pub mod multilog;
pub mod record;
pub mod syslog;
