//! Whether what the sshd of this machine writes is read at all.
//!
//! An input that is quiet looks as one that is blind. So it is looked for what shows that something should have come:
//! the namespace of the journal that its unit names, and somebody who has logged in by it since we started. Any local
//! user can call a process so: nothing is done with it but to tell a person.

use std::fs;
use std::path::Path;
use std::time::Duration;

use inputs::journald::here::{self, Namespace};
use inputs::record::Timestamp;

use super::connected::Connected;
use super::feeds;
use crate::config::{Input, Journald, Source};

/// systemd's files are read so often.
const FILES_EVERY: Duration = Duration::from_secs(600);
/// Processes are looked at so often while nothing of sshd was read; who asks for the status does not wait that long.
const PROCESSES_EVERY: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// A warning comes so often at most.
const WARNED_EVERY: Duration = Duration::from_secs(86_400);
/// Processes that are looked at.
const PROCESSES_MAX: usize = 50_000;
/// What sshd does with a connection by then is written: it has 120 s to log in (LoginGraceTime).
const WRITTEN_AFTER: Duration = Duration::from_secs(150);
/// What the processes of an sshd are called.
const NAMES: [&str; 2] = ["sshd", "sshd-session"];

/// What is known of this machine.
pub(super) struct Here {
    /// One of the inputs is the journal of this machine.
    reads_journal: bool,
    /// Journals in other places that are read.
    directories: Vec<std::path::PathBuf>,
    /// By input, whether what this machine writes may come by it.
    local: Vec<bool>,
    namespaces: Vec<Namespace>,
    files_read: Option<Timestamp>,
    processes_read: Option<Timestamp>,
    /// When we started, in the kernel's ticks since the boot.
    began: Option<u64>,
    /// Since when it is known that an sshd serves somebody who came after we started.
    serves: Option<Timestamp>,
    /// It has served one for so long that it must have written something.
    must_have_written: Option<u32>,
    warned: Option<Timestamp>,
}

impl Here {
    pub(super) fn new(inputs: &[Input]) -> Self {
        let of_journal = |input: &Input| match &input.source {
            Source::Journald(Journald { directory, .. }) => Some(directory.clone()),
            _ => None,
        };
        let journals: Vec<_> = inputs.iter().filter_map(of_journal).collect();
        Here {
            reads_journal: journals.contains(&None),
            directories: journals.into_iter().flatten().collect(),
            local: inputs.iter().map(Input::may_be_local).collect(),
            namespaces: Vec::new(),
            files_read: None,
            processes_read: None,
            began: Process::of("self").map(|process| process.began),
            serves: None,
            must_have_written: None,
            warned: None,
        }
    }

    /// Looks again, if it is time, and tells the inputs that can bring nothing. `asked`: a person asks for the status.
    pub(super) fn look(&mut self, sources: &mut [Connected], now: Timestamp, asked: bool) {
        let is_due =
            |last: Option<Timestamp>, every: Duration| last.is_none_or(|at| at.after(every) <= now || at > now);
        if is_due(self.files_read, FILES_EVERY) {
            self.files_read = Some(now);
            self.read_files(sources);
        }
        let every = if asked { ASKED_EVERY } else { PROCESSES_EVERY };
        if !self.is_read(sources) && self.local.contains(&true) && is_due(self.processes_read, every) {
            self.processes_read = Some(now);
            self.read_processes(now);
        }
        if let Some(what) = self.unread(sources)
            && self.warned.is_none_or(|at| at.after(WARNED_EVERY) <= now)
        {
            self.warned = Some(now);
            tracing::warn!("sshd: {what}");
        }
    }

    fn read_files(&mut self, sources: &mut [Connected]) {
        let root = Path::new("/");
        self.namespaces = here::namespaces(root);
        let dead = here::keeps_nothing(root).map(|file| feeds::keeps_nothing(&file));
        for source in sources.iter_mut().filter(|source| source.is_journal_of_here()) {
            source.dead.clone_from(&dead);
        }
    }

    fn read_processes(&mut self, now: Timestamp) {
        let Some(began) = self.began else { return };
        let served = sessions().filter(|process| process.began > began);
        let Some(one) = served.max_by_key(|process| process.has_logged_in) else { return };
        let since = *self.serves.get_or_insert(now);
        if one.has_logged_in || since.after(WRITTEN_AFTER) <= now {
            self.must_have_written = Some(one.pid);
        }
    }

    /// Whether something of an sshd came by one of the inputs that could bring it.
    fn is_read(&self, sources: &[Connected]) -> bool {
        sources.iter().zip(&self.local).any(|(source, local)| *local && source.fold.sight.known > 0)
    }

    /// What the sshd of this machine writes that no input brings.
    pub(super) fn unread(&self, sources: &[Connected]) -> Option<String> {
        if self.is_read(sources) {
            return None;
        }
        let is_read = |space: &&Namespace| {
            let end = format!(".{}", space.name);
            self.directories.iter().any(|path| path.as_os_str().as_encoded_bytes().ends_with(end.as_bytes()))
        };
        if !self.reads_journal
            && let Some(Namespace { name, unit }) = self.namespaces.iter().find(|space| !is_read(space))
        {
            return Some(format!(
                "{unit} logs into the namespace {name} of the journal (LogNamespace={name}), which no input reads: add an \
                 [[input]] with kind = \"journald\", which reads all namespaces of this machine"
            ));
        }
        let pid = self.must_have_written?;
        Some(format!(
            "an sshd runs on this machine (process {pid}) and somebody has come by it, but no input has brought a record of \
             it: see where it logs (LogLevel and SyslogFacility in sshd_config, -e and -E of sshd), and name that in an [[input]]"
        ))
    }
}

/// A process.
struct Process {
    pid: u32,
    /// When it began, in ticks since the boot.
    began: u64,
    has_logged_in: bool,
}

impl Process {
    /// The one that `/proc` has by this name.
    fn of(name: &str) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
        // The command stands in parentheses, and may hold some itself.
        let (head, tail) = stat.rsplit_once(')')?;
        let pid = head.split(' ').next()?.parse().ok()?;
        let began = tail.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Process { pid, began, has_logged_in: false })
    }
}

/// The processes of sshds that serve somebody: not those that listen, and not those of containers, which log elsewhere.
fn sessions() -> impl Iterator<Item = Process> {
    let items = fs::read_dir("/proc").ok().into_iter().flatten().flatten();
    let names = items.filter_map(|item| item.file_name().into_string().ok());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.take(PROCESSES_MAX).filter_map(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let comm = comm.trim_end();
        if !NAMES.contains(&comm) {
            return None;
        }
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let is_here = is_of_here(&status);
        let process = Process::of(&pid)?;
        let served = serves(&command)?;
        is_here.then_some(Process { has_logged_in: served, ..process })
    })
}

/// Whether a process has but one number: those of a container have one there, and another here.
fn is_of_here(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_none_or(|numbers| numbers.split_ascii_whitespace().count() < 2)
}

/// Whether whom an sshd serves has logged in, by what it calls itself; `None` = it serves nobody.
fn serves(command: &str) -> Option<bool> {
    let who = command.strip_prefix("sshd: ").or_else(|| command.strip_prefix("sshd-session: "))?;
    // As `bob@pts/0`. One that listens is called by its own command line.
    (!who.contains("[listener]")).then(|| who.contains('@') && !who.contains('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_an_sshd_serves() {
        let check = |command, want| assert_eq!(serves(command), want, "{command}");
        check("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", None);
        check("/usr/sbin/sshd\0-D\0", None);
        check("sshd: bob@pts/0", Some(true));
        check("sshd-session: bob@notty", Some(true));
        check("sshd: bob [priv]", Some(false));
        check("sshd: [accepted]", Some(false));
        check("sshd: a@b [preauth]", Some(false));
    }

    #[test]
    fn a_process_of_a_container_has_two_numbers() {
        assert!(is_of_here("Name:\tsshd\nNSpid:\t12\n") && is_of_here("Name:\tsshd\n"));
        assert!(!is_of_here("NSpid:\t12\t1\n"));
    }

    #[test]
    fn we_have_begun() {
        let us = Process::of("self").unwrap();
        assert!(us.pid == std::process::id() && us.began > 0);
    }
}
