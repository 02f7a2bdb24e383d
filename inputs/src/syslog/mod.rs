//! Syslog: what a line or frame says, how frames are cut from a stream, and the sockets they come from.

pub mod frame;
pub mod listen;
pub mod losses;
pub mod parse;
