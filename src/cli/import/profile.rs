//! With which rights denyd must run to do what DenyHosts did: as the user of its unit, or as root by `denyd-root.conf`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::found::Found;
use crate::config::Config;
use crate::deny::choose::Backends;
use crate::text::plain;

/// The drop-in that makes it root's.
const ROOT: &str = "/etc/systemd/system/denyd.service.d/denyd-root.conf";
/// Another one, for what that does not open.
const PATHS: &str = "/etc/systemd/system/denyd.service.d/denyhosts.conf";
/// Where the unit may write anyway, and where denyd-root.conf lets it.
const OPEN: &[&str] = &["/etc", "/var/lib/denyd", "/run/denyd"];

/// What to know of it.
pub(super) fn told(found: &Found, ours: &Config) -> String {
    let (mut reasons, mut paths) = (Vec::new(), BTreeSet::new());
    let mut opened = |path: &Path| {
        let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
        if !OPEN.iter().any(|open| dir.starts_with(open)) {
            paths.insert(dir);
        }
    };
    if let Backends::These(kinds) = &ours.deny.backends {
        for file in kinds.iter().filter_map(|kind| kind.file(&ours.deny)) {
            reasons.push(format!("it writes {}", file.display()));
            opened(file);
        }
    }
    if let Some(dir) = &ours.compat.work_dir {
        reasons.push(format!("it keeps the files in {} current", plain(&dir.display().to_string())));
        opened(&dir.join("hosts"));
    }
    for (key, program) in &found.old.plugins {
        reasons.push(format!("{key} runs {}", plain(program)));
    }
    if let Some(log) = &found.old.daemon_log {
        reasons.push(format!("DAEMON_LOG is {}", plain(&log.display().to_string())));
        opened(log);
    }
    if ours.mail.server == crate::config::mail::Server::Sendmail && !ours.mail.to.is_empty() {
        reasons.push("sendmail takes mail for its own user".to_owned());
    }
    if reasons.is_empty() {
        return "\nThe unit's own user, denyd, may do all of it; no drop-in is needed.\n".to_owned();
    }
    let mut text = format!("\nThe unit must run as root, since {}. Put", reasons.join("; "));
    let _ = writeln!(text, " packaging/systemd/denyd-root.conf into place:\n  {ROOT}");
    if !paths.is_empty() {
        let paths: Vec<_> = paths.iter().map(|path: &PathBuf| path.display().to_string()).collect();
        let _ = writeln!(text, "and beside it:\n  {PATHS}\n    [Service]\n    ReadWritePaths=-{}", paths.join(" -"));
    }
    text
}
