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
    // What it writes there is its own, whoever it runs as.
    for file in [&ours.report.table_file, &ours.report.log_file, &ours.compat.lock_file].into_iter().flatten() {
        opened(file);
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
    if reasons.is_empty() && paths.is_empty() {
        return "\nThe unit's own user, denyd, may do all of it; no drop-in is needed.\n".to_owned();
    }
    let mut text = String::new();
    if !reasons.is_empty() {
        let _ = writeln!(text, "\nThe unit must run as root, since {}. Put", reasons.join("; "));
        let _ = writeln!(text, "packaging/systemd/denyd-root.conf into place:\n  {ROOT}");
    }
    if !paths.is_empty() {
        let paths: Vec<_> = paths.iter().map(|path: &PathBuf| quoted(path)).collect();
        let begin = if reasons.is_empty() { "\nThe unit must be let write there" } else { "and beside it" };
        let _ = writeln!(text, "{begin}:\n  {PATHS}\n    [Service]\n    ReadWritePaths={}", paths.join(" "));
    }
    text
}

/// A path as systemd reads it, which may be missing (systemd.syntax(7)): `%` and blanks mean something there.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    match text.contains([' ', '\t', '"', '\'', '\\']) {
        true => format!("\"-{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        false => format!("-{text}"),
    }
}
