//! Syslog: what real senders put on the wire, and listeners on real sockets.

#![allow(clippy::unwrap_used, reason = "clippy does not know helpers of tests")]

mod listen;
mod wire;
