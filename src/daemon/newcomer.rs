//! Who begins a session anew, and so shows that a person still gets in.
//!
//! It is judged by what the kernel says of the process that asks: the process of sshd that serves its connection, and its audit
//! session (`/proc/PID/sessionid`, which `pam_loginuid` begins at each login and nobody takes over), else its session of logind
//! (the scope in `/proc/PID/cgroup`). `cron`, `run0` and `machinectl shell` begin sessions, too, and prove nothing. Where logind
//! knows the session it says from where it came: not from this machine. What the process says of itself, such as
//! `SSH_CONNECTION`, counts nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::logins;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Session {
    /// By the number that the kernel's audit gives to each login.
    Audit(u32),
    /// By the scope of systemd-logind.
    Logind(String),
}

/// Where processes are shown: `/proc`; and where logind has its sessions.
#[derive(Clone, Debug)]
pub(super) struct Processes(PathBuf, PathBuf);

/// What an order to try found.
#[derive(Clone, Debug)]
pub(super) struct Before {
    /// When it was given: so long after this machine began.
    pub(super) at: Duration,
    /// The sessions that lived.
    pub(super) sessions: BTreeSet<Session>,
}

/// The kernel's number for no audit session.
const UNSET: u32 = u32::MAX;
/// How many parents of a process are looked at.
const PARENTS_MAX: usize = 64;
/// So often a second the clock ticks by which processes begin (`USER_HZ`), on every machine that Rust runs on.
const TICKS: u128 = 100;
/// Servers of which a process serves a connection, by the first 15 bytes of their names.
const SERVERS: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "dropbear"];
/// Programs that give another user's command a terminal of its own.
const GIVERS: [&str; 3] = ["sudo", "su", "doas"];

/// What to do for who is no newcomer.
const REMEDY: &str = "log in anew, not by a connection that is shared (ssh -o ControlPath=none), and say denyd keep there; at \
                      this machine's own console: denyd keep --console";

/// What `/proc/PID/stat` says, as far as it is of use.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    name: String,
    parent: i32,
    terminal: u32,
    /// In ticks since this machine began.
    began: u128,
}

impl Processes {
    /// Those of this machine.
    pub(super) fn here() -> Self {
        Processes("/proc".into(), logins::SESSIONS.into())
    }

    fn read(&self, pid: i32, file: &str) -> Option<Vec<u8>> {
        fs::read(self.0.join(pid.to_string()).join(file)).ok()
    }

    fn process(&self, pid: i32) -> Option<Process> {
        parse(&self.read(pid, "stat")?)
    }

    /// A process, its parent, and so on, up to the first that there is.
    fn line_of(&self, process: Process) -> Vec<Process> {
        let parents = std::iter::successors(Some(process), |one| self.process(one.parent));
        parents.take(PARENTS_MAX).collect()
    }

    fn session(&self, pid: i32) -> Option<Session> {
        let text = |file| self.read(pid, file).and_then(|bytes| String::from_utf8(bytes).ok());
        let audit = text("sessionid").and_then(|id| id.trim().parse().ok()).filter(|id| *id != UNSET);
        audit.map(Session::Audit).or_else(|| text("cgroup").as_deref().and_then(scope).map(Session::Logind))
    }

    /// From where the session came that a process is of, as logind knows.
    fn remote(&self, pid: i32) -> Option<IpAddr> {
        let cgroup = String::from_utf8(self.read(pid, "cgroup")?).ok()?;
        logins::remote(&self.1, scope(&cgroup)?.strip_prefix("session-")?.strip_suffix(".scope")?)
    }

    /// The sessions that live now.
    pub(super) fn sessions(&self) -> io::Result<BTreeSet<Session>> {
        let mut all = BTreeSet::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(|name| name.parse().ok()).and_then(|pid| self.session(pid)));
        }
        Ok(all)
    }

    /// Whether denyd sees a process. What it does not see it cannot judge.
    pub(super) fn sees(&self, pid: i32) -> Result<(), String> {
        let hidden = "denyd does not see your process, so it could not tell a new session: /proc is hidden from it (hidepid), or it \
                      runs in a container of its own";
        self.process(pid).map(|_| ()).ok_or_else(|| hidden.to_owned())
    }

    /// Whether a process is of a session that began after an order, so that it may keep what is tried; else why not, and what
    /// to do. `is_own` says of an address whether it is this machine's.
    pub(super) fn newcomer(&self, pid: i32, before: &Before, is_own: impl Fn(IpAddr) -> bool) -> Result<(), String> {
        self.judged(pid, |line| {
            let order = before.at.as_millis() * TICKS / 1_000;
            let session = self.session(pid);
            if let Some(session) = session.as_ref().filter(|session| before.sessions.contains(session)) {
                let name = match session {
                    Session::Audit(id) => format!("audit session {id}"),
                    Session::Logind(scope) => scope.clone(),
                };
                return Err(format!(
                    "your session ({name}) had begun before the order, and tells nothing of new ones; {REMEDY}"
                ));
            }
            let first = session.as_ref().and_then(|session| {
                line.iter().take_while(|one| self.session(one.pid).as_ref() == Some(session)).last()
            });
            let Some(connection) = connection(line) else {
                return Err(format!(
                    "no sshd and no dropbear serves you, so that you get in from elsewhere is not shown; {REMEDY}"
                ));
            };
            if let Some(one) = [first, Some(connection)].into_iter().flatten().find(|one| one.began <= order) {
                return Err(format!(
                    "your connection (process {}) had begun before the order, and tells nothing of new ones; {REMEDY}",
                    one.pid
                ));
            }
            match self.remote(pid).filter(|from| from.is_loopback() || is_own(*from)) {
                Some(from) => Err(format!(
                    "your session came from this machine itself ({from}), and tells nothing of others; {REMEDY}"
                )),
                None => Ok(()),
            }
        })
    }

    /// Whether a process is at this machine's own console.
    pub(super) fn at_console(&self, pid: i32) -> Result<(), String> {
        self.judged(pid, |line| {
            let own = line.first().map_or(0, |one| one.terminal);
            // sudo gives what it runs a terminal of its own, and stays at the person's.
            let giver = line.iter().find(|one| one.terminal != own).filter(|one| GIVERS.contains(&&*one.name));
            match is_console(own) || giver.is_some_and(|one| is_console(one.terminal)) {
                true => Ok(()),
                false => Err("--console is for the machine's own console (a virtual terminal or a serial line), and you are at none; from \
                              elsewhere, log in anew and say denyd keep"
                    .to_owned()),
            }
        })
    }

    /// Judges the line of a process, which must be the same one all the while: its number may have come to be another's.
    fn judged(&self, pid: i32, judge: impl FnOnce(&[Process]) -> Result<(), String>) -> Result<(), String> {
        self.sees(pid)?;
        let Some(process) = self.process(pid) else { return self.sees(pid) };
        let began = process.began;
        judge(&self.line_of(process))?;
        match self.process(pid).is_some_and(|now| now.began == began) {
            true => Ok(()),
            false => Err("your process ended meanwhile".to_owned()),
        }
    }
}

/// The process that serves the connection of a line of processes: below the one that listens, or, where inetd or systemd
/// listens, the only one.
fn connection(line: &[Process]) -> Option<&Process> {
    let servers: Vec<_> = line.iter().filter(|one| SERVERS.contains(&&*one.name)).collect();
    match &servers[..] {
        [.., below, _] => Some(below),
        one => one.first().copied(),
    }
}

/// `77 (bash) S 76 77 77 34816 …`, see proc_pid_stat(5); the name may hold blanks and parentheses.
fn parse(stat: &[u8]) -> Option<Process> {
    let (open, close) = (memchr::memchr(b'(', stat)?, memchr::memrchr(b')', stat)?);
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    // The third field is the first.
    let fields: Vec<_> = std::str::from_utf8(&stat[close + 1..]).ok()?.split_ascii_whitespace().collect();
    let (parent, terminal) = (fields.get(1)?.parse().ok()?, fields.get(4)?.parse::<i32>().ok()?.cast_unsigned());
    Some(Process { pid, name, parent, terminal, began: fields.get(19)?.parse().ok()? })
}

/// The scope of a session in `/proc/PID/cgroup`: `0::/user.slice/user-0.slice/session-5.scope`.
fn scope(cgroup: &str) -> Option<String> {
    let parts = cgroup.lines().flat_map(|line| line.rsplit(':').next()).flat_map(|path| path.split('/'));
    let mut scopes = parts.filter(|part| part.starts_with("session-") && part.ends_with(".scope"));
    scopes.next().map(str::to_owned)
}

/// Whether a terminal is a virtual one, a serial line or a hypervisor's console, by its number (`Documentation/admin-guide/
/// devices.txt` of Linux).
fn is_console(terminal: u32) -> bool {
    let (major, minor) = (terminal >> 8 & 0xfff, terminal & 0xff | terminal >> 12 & 0xfff00);
    match major {
        4 => minor > 0,
        5 => minor == 1,
        204 | 229 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
