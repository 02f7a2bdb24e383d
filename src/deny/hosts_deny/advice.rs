//! What a person should know of the files that libwrap reads: whom hosts.allow lets in though a firewall may deny them, and
//! what keeps a list file from refusing anybody. It only looks.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::libwrap::{Name, Tables};
use super::{Settings, file, lines};
use crate::decide::prefix::Prefix;

/// Lines that are told.
const TOLD_MAX: usize = 20;
/// Addresses of one line that are told.
const NAMED: usize = 5;

/// Lines of hosts.allow that let in to sshd, or to whatever hosts.deny denies, whom a firewall may deny; but not those whose
/// addresses are allowed anyway, nor what lets in everybody.
pub fn admitted(settings: &Settings, is_allowed: impl Fn(&Prefix) -> bool) -> Vec<String> {
    let service = settings.service.to_string();
    let may_be_denied = |prefix: &&Prefix| !is_allowed(prefix);
    let tell = |found: super::libwrap::Admitted| {
        let open: Vec<String> = found.prefixes.iter().filter(may_be_denied).map(Prefix::to_string).collect();
        let line = found.line;
        match (open.is_empty(), found.others.is_some()) {
            _ if found.everybody => None,
            (true, false) => None,
            (true, true) => Some(format!(
                "{line} lets in by names, lists, options or exceptions, which denyd does not take over: whom a firewall denies is denied all the same"
            )),
            (false, _) => Some(format!(
                "{line} lets in whom denyd may deny in a firewall all the same; if they are yours: denyd allow {}{}",
                open[..open.len().min(NAMED)].join(" "),
                if open.len() > NAMED { " …" } else { "" }
            )),
        }
    };
    Tables::of(&settings.path).admitted(&["sshd", &service]).into_iter().filter_map(tell).take(TOLD_MAX).collect()
}

/// What keeps the list file from refusing anybody, or makes it refuse others; nothing where lines name services.
pub fn of_list(settings: &Settings) -> Vec<String> {
    if !settings.service.is_list() {
        return Vec::new();
    }
    let (path, tables) = (&settings.path, Tables::of(&settings.path));
    let shown = path.display();
    let naming = tables.naming(path);
    let mut found = Vec::new();
    match naming.first() {
        None => found.push(format!(
            "no line of {} or {} names {shown}, so it refuses nobody: write `sshd: {shown}` into {}",
            tables.allow.display(),
            tables.deny.display(),
            tables.deny.display()
        )),
        Some((line, ..)) if naming.iter().all(|(_, is_allow, is_excepted)| *is_allow && *is_excepted) => {
            // Who is on the list is not let in there, and refused only by a line that refuses everybody.
            let rest = Tables { allow: PathBuf::new(), deny: tables.deny.clone() };
            if !rest.answer("sshd", IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), Name::None).refused {
                found.push(format!(
                    "{line} refuses nobody: who is on the list is not let in there, but nothing refuses them either; write `sshd: {shown}` \
                     into {}",
                    tables.deny.display()
                ));
            }
        }
        Some(_) => {}
    }
    found.extend(troubles(path));
    found
}

/// What makes a list file useless or dangerous.
pub(super) fn troubles(path: &std::path::Path) -> Vec<String> {
    let bytes = file::text(path).unwrap_or_default();
    let closed = file::closed(path).map(|closed| {
        format!(
            "a daemon that is not root cannot read {}: {} is closed to others (remedy: chmod o+rX)",
            path.display(),
            closed.display()
        )
    });
    // hosts.deny and hosts.allow themselves may have comments: whatever is written there, they are no lists.
    let is_list = !["hosts.deny", "hosts.allow"].iter().any(|name| path.ends_with(name));
    let comment = lines::comment(&bytes).filter(|_| is_list).map(|_| {
        format!(
            "libwrap takes each word of a comment in {} for a pattern (remedy: delete lines with #)",
            path.display()
        )
    });
    [closed, comment].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &std::path::Path, file: &str, service: &str) -> Settings {
        Settings { path: dir.join(file), service: service.parse().unwrap(), comment: false }
    }

    /// `DIR` is the directory in all texts.
    #[test]
    fn whom_hosts_allow_lets_in_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let check = |allow: &str, want: &[&str]| {
            std::fs::write(dir.path().join("hosts.allow"), allow).unwrap();
            let settings = settings(dir.path(), "hosts.deny", "sshd");
            // Of 203.0.113.0/24 the first and the last address are.
            let allowed = ["192.0.2.9", "203.0.113.0", "203.0.113.255"].map(|one| one.parse::<Prefix>().unwrap());
            let found = admitted(&settings, |prefix| allowed.contains(prefix));
            assert_eq!(found.len(), want.len(), "{allow}: {found:?}");
            for (found, want) in found.iter().zip(want) {
                assert!(found.contains(want), "{allow}: {found}");
            }
        };
        check("", &[]);
        check("sshd: 192.0.2.9\n", &[]);
        check("sshd: 203.0.113.0/24\n", &["denyd allow 203.0.113.0/24"]);
        check("# x\nsshd: 192.0.2.1, 198.51.100. : allow\n", &["line 2 of "]);
        check("sshd: 192.0.2.1, 198.51.100. : allow\n", &["denyd allow 192.0.2.1 198.51.100.0/24"]);
        check("ALL: [2001:db8::]/64\n", &["denyd allow 2001:db8::/64"]);
        check("vsftpd: 192.0.2.1\nALL EXCEPT sshd: 192.0.2.1\n", &[]);
        check("sshd: ALL\nsshd: 192.0.2.1 : deny\nsshd: 192.0.2.1 : twist /bin/echo\n", &[]);
        check("sshd: .example.org\n", &["by names"]);
        check("sshd: 192.0.2.0/24 EXCEPT 192.0.2.1\n", &["exceptions"]);
        check("sshd: 192.0.2.1 : spawn /bin/true\n", &["options"]);
    }

    #[test]
    fn a_list_file_that_refuses_nobody_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().display().to_string();
        let tables = |allow: &str, deny: &str| {
            let text = |text: &str| text.replace("DIR", &here);
            std::fs::write(dir.path().join("hosts.allow"), text(allow)).unwrap();
            std::fs::write(dir.path().join("hosts.deny"), text(deny)).unwrap();
            Tables::of(&dir.path().join("hosts.deny"))
        };
        let list = dir.path().join("list");
        assert_eq!(tables("", "sshd: DIR/other\n").naming(&list), []);
        let excepted = tables("sshd: ALL EXCEPT DIR/list\n", "").naming(&list);
        assert!(matches!(excepted[..], [(_, true, true)]), "{excepted:?}");
        assert!(matches!(tables("", "sshd: x DIR/list\n").naming(&list)[..], [(_, false, false)]));
        std::fs::write(&list, "192.0.2.1 # Bob's\n").unwrap();
        let troubles = troubles(&list);
        assert!(troubles.iter().any(|what| what.contains("each word of a comment")), "{troubles:?}");
        assert!(of_list(&settings(dir.path(), "list", "sshd")).is_empty(), "lines of it name a service");
    }
}
