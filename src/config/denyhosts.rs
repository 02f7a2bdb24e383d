//! A configuration of DenyHosts, read as the one of ours that [`compat`] makes of it.

use std::io::ErrorKind;
use std::path::Path;

use super::error::Problem;
use super::{Config, config, document, listed};
use crate::compat::{self, Kind, World};
use crate::deny::{choose, ports, program};
use crate::text::plain;

/// Programs of the firewalls that can enforce beside hosts.deny, in the order in which they are taken.
const FIREWALLS: &[(&str, &str)] = &[("nft", "nftables"), ("iptables", "iptables")];

/// What could be made out of the text of DenyHosts' `file`, and all that is wrong with it, by its own lines and keys.
pub(super) fn read(file: &Path, text: &str) -> (Option<Config>, Vec<Problem>) {
    let problem = |line, what: String| Problem { file: file.to_owned(), line, what: plain(&what) };
    let translation = match translated(text) {
        Ok(translation) => translation,
        Err(problems) => return (None, problems.into_iter().map(|(line, what)| problem(line, what)).collect()),
    };
    let (found, mut problems) = document::read(file, &translation.toml, listed(), config);
    for one in problems.iter_mut().filter(|one| one.file == file) {
        let origin = translation.lines.get(one.line.wrapping_sub(1)).and_then(Option::as_ref);
        (one.line, one.what) = match origin {
            Some(origin) => (origin.line, format!("{}, as {}", origin.key, plain(&one.what))),
            None => (0, format!("as {}", plain(&one.what))),
        };
    }
    let found = found.map(|found| Config { remarks: translation.remarks, ..found });
    (found, problems)
}

/// The text of DenyHosts' configuration as one of ours, on this machine; or what is wrong with it, by line.
pub(super) fn translated(text: &str) -> Result<compat::Translation, Vec<(usize, String)>> {
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned());
    compat::translate(
        text,
        &World {
            hostname: &hostname.to_string_lossy(),
            variable: &|name| std::env::var(name).ok(),
            directory: &here,
            is_there: &kind,
            sshd_reads_hosts_deny: &choose::sshd_reads_hosts_deny,
            sshd_ports: &ports::of_sshd,
            firewall: &|| FIREWALLS.iter().find(|(name, _)| program::find(name).is_some()).map(|(_, name)| *name),
        },
    )
}

/// What a path names. What cannot be looked at may be there: it is taken for a file, so that reading it fails and says why.
fn kind(path: &Path) -> Option<Kind> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Some(Kind::Directory),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        Ok(_) | Err(_) => Some(Kind::File),
    }
}
