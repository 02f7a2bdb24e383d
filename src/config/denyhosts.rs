//! A configuration of DenyHosts, read as the one of ours that [`compat`] makes of it.

use std::path::Path;

use super::error::Problem;
use super::{Config, config, document, listed};
use crate::compat::{self, Kind, World};
use crate::deny::choose;

/// Programs of the firewalls that can enforce beside hosts.deny, in the order in which they are taken.
const FIREWALLS: &[(&str, &str)] = &[("nft", "nftables"), ("iptables", "iptables")];

/// What could be made out of the text of DenyHosts' `file`, and all that is wrong with it, by its own lines and keys.
pub(super) fn read(file: &Path, text: &str) -> (Option<Config>, Vec<Problem>) {
    let problem = |line, what| Problem { file: file.to_owned(), line, what };
    let translation = match translated(text) {
        Ok(translation) => translation,
        Err(problems) => return (None, problems.into_iter().map(|(line, what)| problem(line, what)).collect()),
    };
    let (found, mut problems) = document::read(file, &translation.toml, listed(), config);
    for one in problems.iter_mut().filter(|one| one.file == file) {
        let origin = translation.lines.get(one.line.wrapping_sub(1)).and_then(Option::as_ref);
        (one.line, one.what) = match origin {
            Some(origin) => (origin.line, format!("{}, as {}", origin.key, one.what)),
            None => (0, format!("as {}", one.what)),
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
            is_there: &|path| {
                let found = std::fs::metadata(path).ok()?;
                Some(if found.is_dir() { Kind::Directory } else { Kind::File })
            },
            sshd_reads_hosts_deny: &choose::sshd_reads_hosts_deny,
            firewall: &|| FIREWALLS.iter().find(|(program, _)| is_program(program)).map(|(_, name)| *name),
        },
    )
}

/// Whether there is such a program where root's programs are.
fn is_program(name: &str) -> bool {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"].iter().any(|dir| Path::new(dir).join(name).is_file())
}
