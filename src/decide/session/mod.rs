//! One attempt counts once: joins the lines of a connection.
//!
//! sshd writes up to six lines about one wrong password. They belong together by (origin host, pid); without a pid, or
//! where several have one, by (host, address, port); without either by (host, address, user). Each source that delivers
//! a connection's lines keeps its own counters, and a connection is worth the *maximum* over its sources: the same line
//! through two paths adds nothing, while equal lines on one path are separate tries (they are, in real logs).
//!
//! Strangers may be able to write some lines. What is certain must not depend on these, so there are two
//! worlds: `sound` is told the sound lines alone, `all` every line. Neither knows of trust, and nothing flows
//! from `all` to `sound`. What no forgeable line is about is the same in both and lies in `sound` only; the
//! first such line about a connection copies it to `all`, and from then on each world judges its lines. An
//! attempt says how much is due in each.

mod accounts;
mod connection;
mod evicted;
mod join;
mod kept;
mod key;
pub(crate) mod line;
mod pam;
mod recent;
mod table;
mod watermark;
mod world;
mod worlds;

pub use connection::Connection;
pub use kept::{Kept, KeptKey, KeptWaiting};
pub(crate) use key::{FNV, fnv};
pub use line::{HostId, Line, Outcome, Trust};
pub use worlds::Sessions;
