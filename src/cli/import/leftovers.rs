//! What would have DenyHosts run again: lines of cron, units, init scripts, `spawn` options.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::found::if_there;
use crate::compat::files;
use crate::text::plain;

/// Files that may hold a line which calls it.
const FILES: &[&str] = &["etc/crontab", "etc/anacrontab", "etc/rc.local", "etc/hosts.allow", "etc/hosts.deny"];
/// Directories of such files.
const DIRECTORIES: &[&str] = &[
    "etc/cron.d",
    "etc/cron.hourly",
    "etc/cron.daily",
    "etc/cron.weekly",
    "etc/cron.monthly",
    "var/spool/cron",
    "var/spool/cron/crontabs",
];
/// What starts it.
const STARTS: &[&str] = &[
    "etc/init.d/denyhosts",
    "etc/rc.d/init.d/denyhosts",
    "etc/systemd/system/denyhosts.service",
    "usr/lib/systemd/system/denyhosts.service",
    "lib/systemd/system/denyhosts.service",
    "run/systemd/system/denyhosts.service",
];
/// The most files of a directory that are looked at.
const FILES_MAX: usize = 1000;
/// The most lines that are shown.
const LINES_MAX: usize = 20;
/// How much of a line is shown, in characters.
const SHOWN_MAX: usize = 120;

/// What is left below `root`, and what to do about each.
pub(super) fn leftovers(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let listed = DIRECTORIES.iter().flat_map(|dir| fs::read_dir(root.join(dir)).into_iter().flatten().flatten());
    let mut listed: Vec<PathBuf> = listed.map(|entry| entry.path()).take(FILES_MAX).collect();
    listed.sort();
    let mut more = 0;
    for file in FILES.iter().map(|file| root.join(file)).chain(listed) {
        let (Some(dir), Some(name)) = (file.parent(), file.file_name()) else { continue };
        if !if_there(fs::metadata(&file)).is_ok_and(|found| found.is_some_and(|found| found.is_file())) {
            continue;
        }
        let Ok(Some(text)) = files::load(dir, &String::from_utf8_lossy(name.as_bytes())) else { continue };
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            if let Some(instead) = calls(line) {
                if found.len() == LINES_MAX {
                    more += 1;
                    continue;
                }
                let shown: String = plain(&String::from_utf8_lossy(line)).chars().take(SHOWN_MAX).collect();
                found.push(format!("{}:{number}: {shown}\n    {instead}", file.display()));
            }
        }
    }
    if more > 0 {
        found.push(format!("{more} more lines of such files"));
    }
    let starts = STARTS.iter().map(|start| root.join(start)).filter(|start| start.symlink_metadata().is_ok());
    for start in starts.filter(|start| !is_of_denyd(start)) {
        let is_unit = start.extension().is_some();
        let instead = match is_unit {
            true => "systemctl disable --now denyhosts; systemctl enable --now denyd",
            false => "update-rc.d denyhosts remove (or chkconfig denyhosts off); systemctl enable --now denyd",
        };
        found.push(format!("{}\n    {instead}", start.display()));
    }
    found
}

/// Whether it starts denyd: our unit by its other name, or our init script.
fn is_of_denyd(start: &Path) -> bool {
    if fs::read_link(start).is_ok_and(|target| target.ends_with("denyd.service")) {
        return true;
    }
    let (Some(dir), Some(name)) = (start.parent(), start.file_name()) else { return false };
    let text = files::load(dir, &name.to_string_lossy()).ok().flatten().unwrap_or_default();
    text.windows(5).any(|word| word == b"denyd")
}

/// What to write instead of a line that calls DenyHosts, if it does.
fn calls(line: &[u8]) -> Option<&'static str> {
    let line = String::from_utf8_lossy(line);
    let code = line.split('#').next().unwrap_or_default();
    let is_it = |word: &str| {
        let (dir, name) = word.rsplit_once('/').unwrap_or(("", word));
        let is_of_programs = || ["bin", "init.d"].iter().any(|end| dir.is_empty() || dir.ends_with(end));
        match name {
            "denyhosts.py" => true,
            "denyhosts" => is_of_programs(),
            "daemon-control" => dir.contains("denyhosts"),
            _ => false,
        }
    };
    let calls = code.split([' ', '\t', ';', '&', '|', '(', ')', '"', '\'']).any(is_it);
    let instead = match (code.contains("spawn"), code.contains("--purge")) {
        (true, _) => "take the option out: denyd reads the log by itself (denyd run)",
        (false, true) => "take it out: denies end by themselves (deny_for); all of them at once: denyd forgive --all",
        (false, false) => {
            "take it out: denyd reads the log as it is written; once, for an old log: denyd scan --apply FILE"
        }
    };
    calls.then_some(instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_who_calls_it() {
        let check = |line: &str, want: bool| assert_eq!(calls(line.as_bytes()).is_some(), want, "{line}");
        check("*/10 * * * * root python /usr/bin/denyhosts.py -c /etc/denyhosts.conf", true);
        check("0,20,40 * * * * root denyhosts --purge", true);
        check("sshd: ALL: spawn /usr/sbin/denyhosts.py & : allow", true);
        check("@reboot root /usr/share/denyhosts/daemon-control start", true);
        check("# 0 * * * * root denyhosts.py", false);
        check("0 * * * * root service denyhosts restart", true);
        check("0 * * * * root cat /var/log/denyhosts", false);
        check("0 * * * * root ls /var/lib/denyhosts/hosts", false);
        check("sshd: 192.0.2.1", false);
    }

    #[test]
    fn a_long_crontab_does_not_hide_the_rest() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/init.d")).unwrap();
        fs::write(root.path().join("etc/crontab"), "* * * * * root denyhosts\n".repeat(5000)).unwrap();
        fs::write(root.path().join("etc/init.d/denyhosts"), "#!/bin/sh\n").unwrap();
        let found = leftovers(root.path());
        assert_eq!((found.len(), found[20].as_str()), (22, "4980 more lines of such files"));
    }

    #[test]
    fn what_starts_denyd_by_denyhosts_name_is_no_leftover() {
        let root = tempfile::tempdir().unwrap();
        let check = |want: usize| assert_eq!(leftovers(root.path()).len(), want, "{:?}", leftovers(root.path()));
        let units = root.path().join("etc/systemd/system");
        fs::create_dir_all(&units).unwrap();
        std::os::unix::fs::symlink("/lib/systemd/system/denyd.service", units.join("denyhosts.service")).unwrap();
        let scripts = root.path().join("etc/init.d");
        fs::create_dir_all(&scripts).unwrap();
        fs::write(scripts.join("denyhosts"), include_str!("../../../packaging/init/denyhosts")).unwrap();
        check(0);
        fs::remove_file(units.join("denyhosts.service")).unwrap();
        fs::write(units.join("denyhosts.service"), "[Service]\nExecStart=/usr/sbin/denyhosts --daemon\n").unwrap();
        fs::write(scripts.join("denyhosts"), "#!/bin/sh\nexec python /usr/sbin/denyhosts --daemon\n").unwrap();
        check(2);
    }
}
