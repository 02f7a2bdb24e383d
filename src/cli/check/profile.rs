//! What the service manager's unit lets denyd do. Root who asks by hand may do all and would find all well; so what `check`
//! tries is tried with the rights of the unit.
//!
//! User, groups and capabilities are taken on by setpriv(1), which starts `check` anew. What the unit hides or makes
//! read-only is done by mounts that are not made here: that is told by what the configuration needs, [`needs`].

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use inputs::syslog::listen::Listen;
use nix::unistd::{Group, User, getgrouplist};

use crate::config::{Config, Source};
use crate::daemon::feeds;
use crate::deny::choose::Kind;
use crate::deny::program;

/// The unit of the package.
const UNIT: &str = "denyd.service";
/// The longest that the service manager may take to answer.
const ASKED_MAX: Duration = Duration::from_secs(5);
/// What is asked of it.
const PROPERTIES: &str = "LoadState,User,Group,SupplementaryGroups,CapabilityBoundingSet,AmbientCapabilities,ProtectSystem,\
                          ProtectHome,PrivateTmp,ReadWritePaths,StateDirectory,RuntimeDirectory";

/// In the environment of a process that has the rights of the unit.
const TAKEN_ON: &str = "DENYD_HAS_RIGHTS_OF_UNIT";

/// Whether this process was started anew with the rights of the unit.
pub(super) fn is_taken_on() -> bool {
    std::env::var_os(TAKEN_ON).is_some()
}

/// What a unit lets its process do. What it does not say is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    user: String,
    group: String,
    groups: Vec<String>,
    /// Capabilities as systemd writes them, `cap_net_admin`.
    bounding: Vec<String>,
    ambient: Vec<String>,
    /// Nothing below these may be written, and by which setting.
    read_only: Vec<(&'static str, String)>,
    /// But below these.
    writable: Vec<PathBuf>,
    /// Below these nothing of the machine's is there, and by which setting.
    hidden: Vec<(&'static str, String)>,
}

impl Unit {
    /// The unit of this machine, with its drop-ins, if there is one.
    pub(super) fn installed() -> Option<Unit> {
        let systemctl = program::find("systemctl")?;
        let child = program::start(&systemctl, &["show", UNIT, "--property", PROPERTIES]).ok()?;
        let output = program::finish_within(ASKED_MAX, child, b"").ok()?;
        Unit::read(std::str::from_utf8(&output.stdout).ok()?)
    }

    /// Reads what `systemctl show` says, `NAME=VALUE` a line; `None` if the unit is not installed.
    fn read(text: &str) -> Option<Unit> {
        let mut unit = Unit::default();
        let mut is_there = false;
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let words = || value.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let all = |setting: &str, paths: &[&'static str]| -> Vec<_> {
                paths.iter().map(|path| (*path, format!("{setting}={value}"))).collect()
            };
            let below = |place: &str| words().into_iter().map(|name| Path::new(place).join(name)).collect::<Vec<_>>();
            match (name, value) {
                ("LoadState", _) => is_there = value == "loaded",
                ("User", _) => unit.user = value.to_owned(),
                ("Group", _) => unit.group = value.to_owned(),
                ("SupplementaryGroups", _) => unit.groups = words(),
                ("CapabilityBoundingSet", _) => unit.bounding = words(),
                ("AmbientCapabilities", _) => unit.ambient = words(),
                ("ProtectSystem", "strict") => unit.read_only = all(name, &["/"]),
                ("ProtectSystem", "full") => unit.read_only = all(name, &["/usr", "/boot", "/efi", "/etc"]),
                ("ProtectSystem", "yes") => unit.read_only = all(name, &["/usr", "/boot", "/efi"]),
                ("ProtectHome", "yes" | "tmpfs") => unit.hidden.extend(all(name, &["/home", "/root", "/run/user"])),
                ("ProtectHome", "read-only") => unit.read_only.extend(all(name, &["/home", "/root", "/run/user"])),
                ("PrivateTmp", "yes") => unit.hidden.extend(all(name, &["/tmp", "/var/tmp"])),
                // A dash stands before what need not be there.
                ("ReadWritePaths", _) => {
                    unit.writable.extend(words().iter().map(|path| PathBuf::from(path.trim_start_matches(['-', '+']))));
                }
                ("StateDirectory", _) => unit.writable.extend(below("/var/lib")),
                ("RuntimeDirectory", _) => unit.writable.extend(below("/run")),
                _ => {}
            }
        }
        is_there.then_some(unit)
    }

    /// As what it runs denyd, for people.
    pub(super) fn describe(&self) -> String {
        let user = if self.user.is_empty() { "root" } else { &self.user };
        format!("as {UNIT} runs denyd, as the user {user}")
    }

    /// Starts `check` anew with the rights of the unit, and this process is no more. Returns why it cannot.
    pub(super) fn take_on(&self) -> anyhow::Error {
        let taken_on = || -> anyhow::Result<io::Error> {
            let setpriv = program::find("setpriv").context("there is no setpriv (of util-linux)")?;
            let mut command = Command::new(setpriv);
            command.args(self.rights()?).arg(std::env::current_exe()?);
            Ok(command.args(std::env::args_os().skip(1)).env(TAKEN_ON, "1").exec())
        };
        taken_on().map_or_else(|error| error, anyhow::Error::from)
    }

    /// The arguments of setpriv.
    fn rights(&self) -> anyhow::Result<Vec<OsString>> {
        let name = if self.user.is_empty() { "root" } else { &self.user };
        let Some(user) = User::from_name(name)? else { bail!("there is no user {name}") };
        let group = |name: &String| {
            Group::from_name(name)?.map(|group| group.gid).with_context(|| format!("there is no group {name}"))
        };
        let gid = if self.group.is_empty() { user.gid } else { group(&self.group)? };
        let mut groups = getgrouplist(&std::ffi::CString::new(name)?, gid)?;
        for name in &self.groups {
            groups.push(group(name)?);
        }
        let groups = groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let set = |capabilities: &[String]| {
            let each = capabilities.iter().map(|name| format!(",+{}", name.trim_start_matches("cap_")));
            format!("-all{}", each.collect::<String>())
        };
        Ok([
            format!("--reuid={}", user.uid),
            format!("--regid={gid}"),
            format!("--groups={groups}"),
            format!("--inh-caps={}", set(&self.ambient)),
            format!("--ambient-caps={}", set(&self.ambient)),
            format!("--bounding-set={}", set(&self.bounding)),
        ]
        .map(OsString::from)
        .to_vec())
    }

    /// What the configuration needs and it may not do: of what, and why with what to do about it.
    pub(super) fn refuses(&self, config: &Config, kinds: &[&Kind]) -> Vec<(String, String)> {
        let refused = needs(config, kinds).into_iter().filter_map(|Need { what, path, is_written, remedy }| {
            let holds = |places: &[(&'static str, String)]| {
                places.iter().find(|(place, _)| path.starts_with(place)).map(|(_, by)| by.clone())
            };
            let is_kept = self.writable.iter().any(|place| path.starts_with(place));
            let why = match (holds(&self.hidden), holds(&self.read_only)) {
                (Some(by), _) => format!("sees nothing of it, by {by}"),
                (None, Some(by)) if is_written && !is_kept => format!("may not write there, by {by}"),
                _ => return None,
            };
            let remedy = match remedy {
                Some(remedy) => remedy.to_owned(),
                None if is_written => format!("name another place, or let it: ReadWritePaths={}", path.display()),
                None => "name another place, or let it in a drop-in".to_owned(),
            };
            Some((what, format!("{UNIT} {why}, and {} is needed; {remedy}", path.display())))
        });
        refused.collect()
    }
}

/// Something that the configuration needs of the file system.
struct Need {
    what: String,
    path: PathBuf,
    is_written: bool,
    remedy: Option<&'static str>,
}

/// What a configuration needs that a unit may take away.
fn needs(config: &Config, kinds: &[&Kind]) -> Vec<Need> {
    // A file is replaced whole, and a socket made anew: it is the directory that is written.
    let beside = |path: &Path| path.parent().unwrap_or(path).to_owned();
    let need = |what: &str, path: PathBuf, is_written| Need { what: what.to_owned(), path, is_written, remedy: None };
    let mut needs = vec![
        need("state_dir", config.state_dir.clone(), true),
        need("control_socket", beside(&config.control_socket), true),
        need("rules_dir", config.rules_dir.clone(), false),
    ];
    for (name, file) in kinds.iter().filter_map(|kind| Some((kind.name, kind.file(&config.deny)?))) {
        let remedy = Some("put denyd-root.conf into /etc/systemd/system/denyd.service.d, as its head says");
        needs.push(Need { remedy, ..need(&format!("deny by {name}"), beside(file), true) });
    }
    if let Some(dir) = &config.compat.work_dir {
        needs.push(need("compat work_dir", dir.clone(), true));
    }
    if let Some(file) = &config.report.log_file {
        needs.push(need("report log_file", beside(file), true));
    }
    if let Some(file) = &config.report.table_file {
        needs.push(need("report table_file", beside(file), true));
    }
    for input in &config.inputs {
        let what = feeds::describe(input);
        let (path, is_written) = match &input.source {
            Source::File(file) => (file.path.clone(), false),
            Source::Multilog(multilog) => (multilog.path.clone(), false),
            Source::Journald(journald) => match &journald.directory {
                Some(directory) => (directory.clone(), false),
                None => continue,
            },
            Source::Syslog(syslog) => match &syslog.listen {
                Listen::UnixDatagram(path) | Listen::UnixStream(path) => (beside(path), true),
                Listen::Udp(_) | Listen::Tcp(_) | Listen::Tls(..) => continue,
            },
        };
        needs.push(need(&what, path, is_written));
    }
    needs
}

/// Whether this process may do what CAP_NET_ADMIN is for: to cut others' connections, beside the firewall.
pub(super) fn may_administer_nets() -> bool {
    /// Its bit (capabilities(7)).
    const CAP_NET_ADMIN: u64 = 1 << 12;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    effective.is_some_and(|effective| effective & CAP_NET_ADMIN != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Backends;

    /// What systemd 252 says of the package's unit.
    const SHOWN: &str = "User=denyd\nGroup=denyd\nSupplementaryGroups=systemd-journal adm\nCapabilityBoundingSet=cap_net_admin\n\
                         AmbientCapabilities=cap_net_admin\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\n\
                         StateDirectory=denyd\nRuntimeDirectory=denyd\nLoadState=loaded\n";

    /// What the unit, with these lines too, refuses of a configuration.
    fn check(shown: &str, config: &str, want: &[&str]) {
        let unit = Unit::read(&format!("{SHOWN}{shown}")).expect("a unit");
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("denyd.toml");
        std::fs::write(&file, config).expect("written");
        let config = Config::read(&file).expect("a configuration");
        let kinds = match &config.deny.backends {
            Backends::These(kinds) => kinds.clone(),
            Backends::Auto => Vec::new(),
        };
        let refused: Vec<_> =
            unit.refuses(&config, &kinds).into_iter().map(|(what, why)| format!("{what}: {why}")).collect();
        let is_told = refused.iter().zip(want).all(|(refused, want)| refused.contains(want));
        assert!(refused.len() == want.len() && is_told, "{config:?}: {refused:?}, not {want:?}");
    }

    #[test]
    fn what_the_unit_refuses() {
        check("", "", &[]);
        let lines = "[deny]\nbackends = [\"nftables\", \"hosts.deny\"]\n";
        check(
            "",
            lines,
            &["deny by hosts.deny: denyd.service may not write there, by ProtectSystem=strict, and /etc is"],
        );
        check("ReadWritePaths=-/srv /etc\n", lines, &[]);
        check("", "state_dir = \"/srv/denyd\"\n", &["state_dir: denyd.service may not write there"]);
        check("ReadWritePaths=/srv\n", "state_dir = \"/srv/denyd\"\n", &[]);
        check("ProtectSystem=full\n", "state_dir = \"/srv/denyd\"\n", &[]);
        check("ProtectSystem=full\n", lines, &["by ProtectSystem=full"]);
        let input = |keys: &str| format!("[[input]]\n{keys}\n");
        check("", &input("kind = \"file\"\npath = \"/srv/log\""), &[]);
        let home = input("kind = \"file\"\npath = \"/home/web/auth.log\"");
        check("", &home, &["follow /home/web/auth.log: denyd.service sees nothing of it, by ProtectHome=yes"]);
        let socket =
            |path: &str| input(&format!("kind = \"syslog\"\nlisten = \"unix://{path}\"\ntrusted_user = \"root\""));
        check("", &socket("/run/denyd/log"), &[]);
        check("", &socket("/run/log"), &["listen on unix:///run/log: denyd.service may not write there"]);
        check("", &socket("/tmp/log"), &["by PrivateTmp=yes, and /tmp is needed; name another place"]);
    }

    #[test]
    fn a_unit_that_is_not_there_refuses_nothing() {
        assert_eq!(Unit::read("LoadState=not-found\nUser=\n"), None);
        assert_eq!(Unit::read(""), None);
    }
}
