//! How a drill goes.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::At;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;

/// A drill, as it is when it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// What is to be denied.
    pub prefix: Prefix,
    /// The input.
    pub input: String,
    /// How its records get there.
    pub way: Way,
    /// sshd's messages, in their order. Each holds a number that nobody can guess, and is taken once.
    pub messages: Vec<String>,
    /// How many of them were read.
    pub read: usize,
    /// When the last one was.
    pub read_at: Option<At>,
    /// When the deny was decided.
    pub decided_at: Option<At>,
    /// For what.
    pub class: Option<Class>,
    /// Until when it would last.
    pub until: Option<At>,
    /// Whether the back ends were told to deny it.
    pub published: bool,
    /// The back ends.
    pub backends: Vec<String>,
}

/// How records get to an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By the syslog daemon of this machine, which writes them into a journal, or into this file.
    Log(Option<PathBuf>),
    /// Nobody but its program writes the file: they are appended. Bare messages.
    Bare(PathBuf),
    /// To a listener of ours.
    Udp(SocketAddr),
    /// The same.
    Tcp(SocketAddr),
    /// The same.
    UnixDatagram(PathBuf),
    /// The same.
    UnixStream(PathBuf),
}
