//! For who may not write: what to put into HOSTS_DENY, on standard output, and nothing else there.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use nix::unistd::{AccessFlags, eaccess};

use crate::cli::output::Screen;
use crate::config::{Backends, Config};
use crate::decide::claim::Claim;
use crate::decide::prefix::Prefix;

/// Whether nothing can be written: by who may not keep a state, or where HOSTS_DENY alone enforces, and cannot be written.
pub(super) fn is_all(config: &Config) -> bool {
    let hosts_deny = &config.deny.hosts_deny.path;
    let is_alone = match &config.deny.backends {
        Backends::These(these) => these.iter().all(|kind| kind.file(&config.deny).is_some()),
        Backends::Auto => false,
    };
    !may_write(&config.state_dir) || is_alone && !may_write(hosts_deny)
}

/// What a daemon must write, and an ordinary user may not: the state, or the socket by which it answers. root is told by the start
/// itself what is wrong.
pub(super) fn hinders_daemon(config: &Config) -> Option<&Path> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    let socket = config.control_socket.parent().unwrap_or(&config.control_socket);
    [&*config.state_dir, socket].into_iter().find(|path| !may_write(path))
}

/// Whether we may write a file, or make it.
fn may_write(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => eaccess(path, AccessFlags::W_OK).is_ok(),
        Err(_) => path.parent().is_some_and(|parent| (parent.is_dir() || !parent.exists()) && may_write(parent)),
    }
}

/// Prints the lines of those that are denied and have none yet.
pub(super) fn print(config: &Config, denied: &[(Prefix, Claim)]) -> anyhow::Result<()> {
    let settings = &config.deny.hosts_deny;
    // Who may not write it may often read it.
    let text = std::fs::read(&settings.path).unwrap_or_default();
    let known: BTreeSet<&[u8]> = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).collect();
    let mut told = BTreeSet::new();
    let mut screen = Screen::new();
    for (prefix, _) in denied {
        let entry = settings.entry(prefix);
        if !known.contains(entry.as_bytes()) && told.insert(entry.clone()) {
            writeln!(screen, "{entry}")?;
        }
    }
    screen.flush()?;
    Ok(())
}
