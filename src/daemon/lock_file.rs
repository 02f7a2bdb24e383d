//! DenyHosts' lock file: the pid of who runs, where scripts look for it. And whether DenyHosts itself runs: the one place that
//! tells it, for the daemon, the verbs and `denyd import`.
//!
//! It locks nothing here: that is done by the lock of the database. So whatever stands in it, or hinders that it is written, is no
//! reason not to start. It may be where others write, too, as in `/run/lock`: a pid is believed only where root or our own user
//! owns the file and started the process. And the file is only written over, and removed, where it holds a pid or nothing: a slip
//! in the configuration costs nobody a file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::sync::watch;

use crate::spot::Spot;

use crate::whose::is_ours;

/// What is read of a lock file, and of the list of a unit's processes, in bytes.
const READ_MAX: u64 = 4_096;
/// What is read of a process' command line, in bytes.
const COMMAND_MAX: u64 = 1_024;
/// Where DenyHosts' packages had their lock file.
const USUAL: &[&str] =
    &["run/denyhosts.pid", "var/run/denyhosts.pid", "var/lock/subsys/denyhosts", "run/lock/subsys/denyhosts"];
/// Where the kernel lists the processes of DenyHosts' unit. A unit that has its name as another one of ours is not there.
const UNIT: &[&str] = &[
    "sys/fs/cgroup/system.slice/denyhosts.service/cgroup.procs",
    "sys/fs/cgroup/systemd/system.slice/denyhosts.service/cgroup.procs",
];
/// The mode of a lock file.
const MODE: u32 = 0o644;
/// The scripts that are DenyHosts.
const SCRIPTS: &[&str] = &["denyhosts", "denyhosts.py"];
/// How many processes are looked at for one that is called so.
const PROCESSES_MAX: usize = 100_000;
/// How long is looked for it. A process that hangs may hold up whoever reads its command line.
const LOOK_FOR: Duration = Duration::from_secs(5);
/// How often is looked whether it is started beside us.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// The names of this program.
pub(crate) const NAMES: &[&str] = &["denyd", "denyhosts", "denyhosts.py", "daemon-control"];

/// Whose pid a lock file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A denyd that runs.
    Denyd(u32),
    /// DenyHosts itself, which runs.
    DenyHosts(u32),
    /// Nobody's who runs, or another program's.
    Stale,
}

/// DenyHosts, which runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Predecessor {
    pid: u32,
    /// The service manager started it.
    is_unit: bool,
}

impl fmt::Display for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid;
        write!(
            f,
            "DenyHosts itself runs (pid {pid}), so nothing is enforced: each would undo what the other does. Stop it: "
        )?;
        match self.is_unit {
            true => f.write_str("systemctl disable --now denyhosts.service"),
            false => write!(f, "kill {pid}, and take away what starts it: an init script, a line of a crontab"),
        }
    }
}

/// DenyHosts, if it runs: by this lock file or the usual ones, as a unit, or as a process that is called so. What cannot be told
/// within five seconds is taken for no: nobody who attacks is to be let in for it.
pub(crate) fn predecessor(lock_file: Option<&Path>) -> Option<Predecessor> {
    let lock_file = lock_file.map(Path::to_owned);
    let (tell, told) = mpsc::channel();
    let look = move || drop(tell.send(found(Path::new("/"), lock_file.as_deref())));
    let begun = std::thread::Builder::new().name("predecessor".to_owned()).spawn(look);
    begun.ok().and_then(|_| told.recv_timeout(LOOK_FOR).ok().flatten())
}

/// DenyHosts, if it runs by this lock file or the usual ones, or as a unit. That costs a few files, and may be asked again and again.
fn noted(root: &Path, lock_file: Option<&Path>) -> Option<Predecessor> {
    let files = lock_file.map(Path::to_owned).into_iter().chain(USUAL.iter().map(|usual| root.join(usual)));
    let by_file = files.filter_map(|file| match whose(root, &file) {
        Some(Holder::DenyHosts(pid)) => Some(Predecessor { pid, is_unit: false }),
        _ => None,
    });
    let units = UNIT.iter().flat_map(|unit| File::open(root.join(unit)).map(pids).unwrap_or_default());
    // The unit is what is to be stopped, where there is one.
    let by_unit = units.filter(|pid| runs(root, *pid) == Some(true));
    let mut by_unit = by_unit.map(|pid| Predecessor { pid, is_unit: true });
    by_unit.next().or_else(|| by_file.fuse().next())
}

fn found(root: &Path, lock_file: Option<&Path>) -> Option<Predecessor> {
    noted(root, lock_file).or_else(|| by_name(root))
}

/// Looks for a DenyHosts that is started beside us, and tells of it where that changes. What denies goes on: an attacker is not
/// to be let in for it.
pub(super) async fn watch(lock_file: Option<PathBuf>, seen: watch::Sender<Option<String>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let file = lock_file.clone();
        let look = tokio::task::spawn_blocking(move || noted(Path::new("/"), file.as_deref()));
        let now = look.await.ok().flatten();
        let told = now.map(|Predecessor { pid, .. }| {
            format!(
                "DenyHosts itself was started beside denyd (pid {pid}), and each undoes what the other does: stop one of them, \
                 and see to what starts it"
            )
        });
        seen.send_if_modified(|known| {
            let is_new = *known != told;
            match &told {
                Some(what) if is_new => tracing::error!("{what}"),
                None if is_new => tracing::info!("the DenyHosts that ran beside denyd is gone"),
                _ => {}
            }
            *known = told;
            is_new
        });
    }
}

/// A process that is called so. One in a container denies there, and not here.
fn by_name(root: &Path) -> Option<Predecessor> {
    let all = fs::read_dir(root.join("proc")).ok()?.flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(PROCESSES_MAX);
    let is_it = |pid: &u32| {
        let script = command(root, *pid).and_then(|command| script(root, *pid, &command).map(str::to_owned));
        script.is_some_and(|script| SCRIPTS.contains(&&*script)) && !is_contained(root, *pid)
    };
    pids.find(is_it).map(|pid| Predecessor { pid, is_unit: false })
}

/// Whether a process has another number in a container (proc_pid_status(5), `NSpid`).
fn is_contained(root: &Path, pid: u32) -> bool {
    numbers(root, pid, "NSpid:").len() > 1
}

/// The numbers in a line of what the kernel says of a process.
fn numbers(root: &Path, pid: u32, line: &str) -> Vec<u32> {
    let status = fs::read_to_string(place(root, pid).join("status")).unwrap_or_default();
    let numbers = status.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_default();
    numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn place(root: &Path, pid: u32) -> PathBuf {
    root.join("proc").join(pid.to_string())
}

/// Whose pid a lock file has; `None` where there is none.
pub(crate) fn holder(file: &Path) -> Option<Holder> {
    // A pid that is ours by now is left over from before a reboot.
    let is_own = |holder: &Holder| *holder == Holder::Denyd(std::process::id());
    whose(Path::new("/"), file).map(|holder| if is_own(&holder) { Holder::Stale } else { holder })
}

fn whose(root: &Path, file: &Path) -> Option<Holder> {
    file.symlink_metadata().ok()?;
    let opened = Spot::of(file).and_then(|spot| spot.peek());
    let own = opened.ok().filter(|file| file.metadata().is_ok_and(|found| is_ours(&found)));
    let pid = own.map(pids).unwrap_or_default().into_iter().next();
    Some(pid.map_or(Holder::Stale, |pid| match runs(root, pid) {
        Some(true) => Holder::DenyHosts(pid),
        Some(false) => Holder::Denyd(pid),
        None => Holder::Stale,
    }))
}

/// The numbers in a file, one a line; none where it cannot be read.
fn pids(file: File) -> Vec<u32> {
    let mut text = String::new();
    let is_read = file.take(READ_MAX).read_to_string(&mut text);
    if is_read.is_err() { Vec::new() } else { text.lines().filter_map(|line| line.trim().parse().ok()).collect() }
}

/// Whether that process is DenyHosts itself, or a denyd; `None` if it is none of these, or is gone.
fn runs(root: &Path, pid: u32) -> Option<bool> {
    let command = command(root, pid)?;
    if let Some(script) = script(root, pid, &command) {
        return script.starts_with("denyhosts").then_some(true);
    }
    NAMES.contains(&command.first()?.as_str()).then_some(false)
}

/// The words of a process' command line, without their directories. Only one that root or our own user started counts: whoever
/// else may call a program of his as he likes. One that has root's rights by its set-uid bit has its caller's real uid.
fn command(root: &Path, pid: u32) -> Option<Vec<String>> {
    let (uids, us) = (numbers(root, pid, "Uid:"), nix::unistd::geteuid().as_raw());
    if uids.is_empty() || !uids.iter().all(|uid| [0, us].contains(uid)) {
        return None;
    }
    let mut line = Vec::new();
    File::open(place(root, pid).join("cmdline")).ok()?.take(COMMAND_MAX).read_to_end(&mut line).ok()?;
    Some(line.split(|&byte| byte == 0).map(base).collect())
}

/// The script that a Python runs: the first word that is no option, nor belongs to one. What a process is called is for its
/// caller to say, so the kernel is asked which program it is.
fn script<'a>(root: &Path, pid: u32, command: &'a [String]) -> Option<&'a str> {
    let (called, words) = command.split_first()?;
    let program = match fs::read_link(place(root, pid).join("exe")) {
        Ok(program) => program.file_name()?.to_string_lossy().into_owned(),
        // Only root is told of root's.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => called.clone(),
        Err(_) => return None,
    };
    let mut words = words.iter().filter(|_| program.starts_with("python"));
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-') else { return Some(word) };
        match letters.find(['W', 'X', 'Q', 'c', 'm']).filter(|_| !letters.starts_with('-')) {
            // It is a command or a module, and no script.
            Some(at) if letters[at..].starts_with(['c', 'm']) => return None,
            Some(at) if at + 1 == letters.len() => _ = words.next(),
            _ => {}
        }
    }
    None
}

/// The name of a file.
fn base(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A lock file with our pid, which goes when this is dropped.
#[derive(Debug, Default)]
pub(super) struct LockFile {
    path: Option<PathBuf>,
    is_ours: bool,
}

impl LockFile {
    /// From now on our pid is there, and no more where it was. Where it cannot be written, that is logged.
    pub(super) fn be_at(&mut self, path: Option<&Path>) {
        if path == self.path.as_deref() {
            return;
        }
        self.leave();
        let Some(path) = path else { return };
        self.path = Some(path.to_owned());
        let file = path.display().to_string();
        if let Some(Holder::Denyd(pid)) = holder(path) {
            return tracing::warn!(file, pid, "the lock file is another denyd's, and is left so");
        }
        match write(path) {
            Ok(()) => self.is_ours = true,
            Err(error) => tracing::warn!(file, %error, "the lock file cannot be written; `denyd status` has the pid"),
        }
    }

    fn leave(&mut self) {
        let is_ours = std::mem::take(&mut self.is_ours);
        let spot = self.path.take().filter(|_| is_ours).and_then(|path| Spot::itself(&path).ok());
        if let Some(spot) = spot.filter(|spot| spot.peek().is_ok_and(|file| pids(file) == [std::process::id()])) {
            let _ = spot.remove();
        }
    }
}

fn write(path: &Path) -> io::Result<()> {
    let spot = Spot::made(path)?;
    // Whoever owns it may write another pid into it, and one with a second name may be any other file.
    if let Some(found) = spot.look()?
        && !(is_ours(&found) && found.nlink() == 1)
    {
        removed(&spot)?;
    }
    let mut file = spot.open(OFlags::RDWR | OFlags::CREATE, MODE)?;
    is_lock(&file)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    file.sync_all()
}

/// Removes a lock file; an error if something else stands there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    removed(&Spot::itself(path)?)
}

fn removed(spot: &Spot) -> io::Result<()> {
    spot.peek().and_then(|file| is_lock(&file))?;
    spot.remove()
}

/// An error if a file has something else in it than a pid.
fn is_lock(file: &File) -> io::Result<()> {
    let mut text = Vec::new();
    file.take(READ_MAX).read_to_end(&mut text)?;
    match text.trim_ascii().iter().all(u8::is_ascii_digit) {
        true => Ok(()),
        false => Err(io::Error::other("what stands in it is no pid, so it is left as it is; name another LOCK_FILE")),
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a machine's root with these files. A process that has a command line is ours, and of the
    /// program that is named first there, if nothing else is said.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let us = nix::unistd::geteuid().as_raw();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match name.rsplit('/').next() {
                Some("exe") => std::os::unix::fs::symlink(text, &path).unwrap(),
                Some("status") if !text.contains("Uid:") => fs::write(&path, format!("{text}Uid:\t{us}\n")).unwrap(),
                _ => fs::write(&path, text).unwrap(),
            }
        }
        for (name, text) in files {
            let Some(of_process) = name.strip_suffix("/cmdline").map(|of_process| root.path().join(of_process)) else {
                continue;
            };
            if !of_process.join("status").exists() {
                fs::write(of_process.join("status"), format!("Uid:\t{us}\t0\t{us}\t0\n")).unwrap();
            }
            let _ = std::os::unix::fs::symlink(text.split('\0').next().unwrap(), of_process.join("exe"));
        }
        root
    }

    #[test]
    fn it_is_seen_whether_denyhosts_runs() {
        let check = |files: &[(&str, &str)], want: Option<(u32, bool)>| {
            let root = machine(files);
            let want = want.map(|(pid, is_unit)| Predecessor { pid, is_unit });
            assert_eq!(found(root.path(), Some(&root.path().join("lock"))), want, "{files:?}");
        };
        let python = ("proc/70/cmdline", "/usr/bin/python3\0/usr/sbin/denyhosts\0--daemon\0");
        check(&[], None);
        check(&[("lock", "70\n")], None);
        check(&[("lock", "70\n"), python], Some((70, false)));
        check(&[("run/denyhosts.pid", "70"), python], Some((70, false)));
        check(&[("var/lock/subsys/denyhosts", "70\n"), python], Some((70, false)));
        // A pid that another program has by now.
        check(&[("lock", "70\n"), ("proc/70/cmdline", "python3\0/usr/bin/fail2ban-server\0")], None);
        check(&[("lock", "70\n"), ("proc/70/cmdline", "/usr/bin/vi\0denyhosts\0")], None);
        check(&[("lock", "70\n"), ("proc/70/cmdline", "")], None);
        check(&[("lock", "seventy\n"), ("proc/70/cmdline", "/usr/bin/denyd\0run\0")], None);
        check(&[("lock", "70\n"), ("proc/70/cmdline", "python3\0edit.py\0denyhosts.py\0")], None);
        // Ours.
        check(&[("lock", "70\n"), ("proc/70/cmdline", "/usr/sbin/denyhosts\0--daemon\0")], None);
        // As a unit, with options of Python's own.
        let unit = "sys/fs/cgroup/system.slice/denyhosts.service/cgroup.procs";
        let python = ("proc/71/cmdline", "python2.7\0-u\0/usr/share/denyhosts/denyhosts.py\0");
        check(&[(unit, "70\n71\n"), python], Some((71, true)));
        check(&[(unit, "71\n"), ("lock", "71\n"), python], Some((71, true)));
        check(&[(unit, "71\n"), ("proc/71/cmdline", "/usr/bin/denyd\0run\0")], None);
        // By its name alone, but not in a container.
        let (other, name) = (("proc/7/cmdline", "python3\0edit.py\0denyhosts.py\0"), "proc/70/cmdline");
        check(&[other], None);
        check(&[other, (name, "python\0-u\0/usr/bin/denyhosts.py\0--daemon\0")], Some((70, false)));
        check(&[(name, "python3\0/opt/denyhosts-report.py\0")], None);
        check(&[python, ("proc/71/status", "Name:\tpython2.7\nNSpid:\t71\n")], Some((71, false)));
        check(&[python, ("proc/71/status", "Name:\tpython2.7\nNSpid:\t71\t5\n")], None);
        // Not by a program that anybody may start, which has root's rights, and is called as he likes.
        let su = ("proc/70/cmdline", "python3\0-s\0denyhosts\0root\0");
        check(&[su], Some((70, false)));
        check(&[su, ("proc/70/exe", "/usr/bin/su")], None);
        check(&[su, ("proc/70/status", "Uid:\t65534\t0\t0\t0\n")], None);
        // Options of Python's that take a word.
        for options in ["-W\0ignore", "-uX\0utf8", "-Wignore", "-E\0-s", "--check-hash-based-pycs=always"] {
            check(&[(name, &format!("python3\0{options}\0/usr/sbin/denyhosts\0"))], Some((70, false)));
        }
        check(&[(name, "python3\0-c\0denyhosts\0denyhosts\0")], None);
        check(&[(name, "python3\0-m\0edit\0denyhosts\0")], None);
    }

    fn at(path: &Path) -> LockFile {
        let mut lock = LockFile::default();
        lock.be_at(Some(path));
        lock
    }

    #[test]
    fn a_lock_file_has_our_pid_as_long_as_we_run() {
        let root = machine(&[("stale", "99999999\n"), ("other/kept", "sshd: 192.0.2.7\n"), ("other/pid", "7\n")]);
        let path = |name: &str| root.path().join(name);
        let ours = format!("{}\n", std::process::id());
        for name in ["new", "dir/that/is/missing", "stale"] {
            let lock = at(&path(name));
            assert_eq!(fs::read_to_string(path(name)).unwrap(), ours, "{name}");
            drop(lock);
            assert!(!path(name).exists(), "{name}");
        }
        // Another one takes its place, as a reload has it.
        let mut lock = at(&path("new"));
        lock.be_at(Some(&path("newer")));
        assert!(!path("new").exists());
        assert_eq!(fs::read_to_string(path("newer")).unwrap(), ours);
        lock.be_at(None);
        assert!(!path("newer").exists());
        // One that somebody else wrote meanwhile stays.
        let lock = at(&path("new"));
        fs::write(path("new"), "1\n").unwrap();
        drop(lock);
        assert_eq!(fs::read_to_string(path("new")).unwrap(), "1\n");
        // One that has a second name, which may be another's file, is not written into: the name is taken.
        fs::hard_link(path("other/pid"), path("hard")).unwrap();
        let lock = at(&path("hard"));
        assert_eq!(fs::read_to_string(path("hard")).unwrap(), ours);
        drop(lock);
        assert_eq!(fs::read_to_string(path("other/pid")).unwrap(), "7\n");
        // Nothing is written through a link, nor where a directory, a fifo or anything else than a pid is. Nor is it removed.
        std::os::unix::fs::symlink(path("other/pid"), path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::hard_link(path("other/kept"), path("hard")).unwrap();
        for name in ["link", "other", "fifo", "other/kept", "hard"] {
            drop(at(&path(name)));
            assert!(remove(&path(name)).is_err(), "{name}");
            assert!(path(name).symlink_metadata().is_ok(), "{name}");
        }
        assert_eq!(fs::read_to_string(path("other/kept")).unwrap(), "sshd: 192.0.2.7\n");
        assert_eq!(fs::read_to_string(path("other/pid")).unwrap(), "7\n");
        remove(&path("other/pid")).unwrap();
        assert!(!path("other/pid").exists());
    }

    /// Only root can make files of others.
    #[test]
    fn a_lock_file_of_others_says_nothing() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let python = ("proc/70/cmdline", "python3\0/usr/sbin/denyhosts\0");
        let root = machine(&[("lock", "70\n"), ("run/lock/subsys/denyhosts", "70\n"), python]);
        let path = |name: &str| root.path().join(name);
        let give = |name: &str, to: u32| std::os::unix::fs::chown(path(name), Some(to), None).unwrap();
        give("lock", 65_534);
        assert_eq!(whose(root.path(), &path("lock")), Some(Holder::Stale));
        give("run/lock/subsys/denyhosts", 65_534);
        assert_eq!(whose(root.path(), &path("run/lock/subsys/denyhosts")), Some(Holder::Stale));
        // Nor does a process of others.
        give("lock", 0);
        assert!(found(root.path(), Some(&path("lock"))).is_some());
        fs::write(path("proc/70/status"), "Uid:\t65534\t65534\t65534\t65534\n").unwrap();
        assert_eq!(found(root.path(), Some(&path("lock"))), None);
        // It is replaced, so that nobody else can write another pid into it.
        give("lock", 65_534);
        let lock = at(&path("lock"));
        assert!(is_ours(&path("lock").metadata().unwrap()));
        drop(lock);
        assert!(!path("lock").exists());
    }
}
