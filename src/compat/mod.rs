//! DenyHosts: its configuration file, read as it is, and the files of its work directory.
//!
//! The text of a `denyhosts.conf` becomes the text of a `denyd.toml`, which [`config`](crate::config) reads like any other:
//! so there is one validator, and `denyd import` writes what `run` goes by. [`conf`] is the grammar of the file; [`keys`]
//! says of each key what it means here, `python` how its regular expressions are written here. [`files`] is its work directory. What DenyHosts did is told by its manual, its FAQ, and by trying it (3.1.2).

use std::path::{Path, PathBuf};

mod command;
mod conf;
pub mod files;
mod keys;
mod python;
#[cfg(test)]
mod tests;

/// The fields of Python's logging that a line of a log file may have.
pub const LOG_FIELDS: [&str; 8] = ["asctime", "created", "msecs", "name", "levelname", "levelno", "process", "message"];

/// What a translation must know of the machine.
pub struct World<'a> {
    /// The name of this host: `$[HOSTNAME]`, whether the environment has it or not.
    pub hostname: &'a str,
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What relative paths are below, as DenyHosts took them.
    pub directory: &'a Path,
    /// Whether there is such a file or directory: `None` only where there is none for sure. One that this user may not look at
    /// is a file, so that whoever reads it says why it cannot be read.
    pub is_there: &'a dyn Fn(&Path) -> Option<Kind>,
    /// Whether this user may write a file that is there.
    pub is_writable: &'a dyn Fn(&Path) -> bool,
    /// Whether this machine's sshd asks libwrap, so that hosts.deny refuses anybody.
    pub sshd_reads_hosts_deny: &'a dyn Fn() -> bool,
    /// Why the journal is to be read in place of this log, if nobody writes it and the journal has what it lacks.
    pub journal_instead: &'a dyn Fn(&Path) -> Option<String>,
    /// The back end for packets that this machine has, where hosts.deny refuses nobody: `nftables` or `iptables`.
    pub firewall: &'a dyn Fn() -> Option<&'static str>,
    /// Whether denyd would find this program of a firewall, to run it.
    pub has_program: &'a dyn Fn(&str) -> bool,
    /// The port of a service of this name.
    pub service: &'a dyn Fn(&str) -> Option<u16>,
    /// The ports at which this machine's sshd listens.
    pub sshd_ports: &'a dyn Fn() -> Vec<u16>,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// A configuration of DenyHosts as one of ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// The text of a `denyd.toml`.
    pub toml: String,
    /// For each line of it, from 1, what it comes from.
    pub lines: Vec<Option<Origin>>,
    /// What a reader of the file should know, in its order.
    pub remarks: Vec<Remark>,
    /// The log, and whether the journal is read in its place.
    pub log: Option<(PathBuf, bool)>,
}

impl Translation {
    /// The same without what tells somebody, if that is what stands at a line of the text and is wrong, and a remark that says
    /// so; of mail all of it.
    pub fn without(&self, line: usize, wrong: &str) -> Option<Translation> {
        let origin = self.lines.get(line.checked_sub(1)?)?.as_ref()?;
        let lines: Vec<&str> = self.toml.lines().collect();
        let table = lines[..line].iter().rposition(|line| line.starts_with('['))?;
        keys::TELLING.contains(&lines[table]).then_some(())?;
        let end = lines[line..].iter().position(|line| line.starts_with('[')).map_or(lines.len(), |next| line + next);
        let (gone, what) = match lines[table] {
            "[mail]" => (table..end, "no mail is sent"),
            "[plugin]" => (line - 1..line, "no program is run by it"),
            _ => (line - 1..line, "it is left out"),
        };
        let mut left = Translation {
            toml: String::new(),
            remarks: self.remarks.clone(),
            log: self.log.clone(),
            lines: self.lines.clone(),
        };
        for (at, text) in lines.iter().enumerate() {
            left.toml += if gone.contains(&at) { "" } else { text };
            left.toml.push('\n');
        }
        left.lines[gone].fill(None);
        let what = format!("{}: {what}, as {wrong}", origin.key);
        let at = left.remarks.partition_point(|remark| remark.line != 0 && remark.line <= origin.line);
        left.remarks.insert(at, Remark { line: origin.line, what, differs: true });
        Some(left)
    }
}

/// Where something comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The line of DenyHosts' file, from 1; 0 if the key is not in it.
    pub line: usize,
    /// The key.
    pub key: String,
}

/// Something to know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Its line, from 1; 0 if it is about what the file does not have.
    pub line: usize,
    /// What.
    pub what: String,
    /// Whether something is other than the file says. Otherwise it is about a key that is absent, and what holds then.
    pub differs: bool,
}

/// Whether a file is a configuration of DenyHosts, by its name: `denyhosts.conf`, `denyhosts.cfg`, `denyhosts.cfg-dist`,
/// and whatever ends in `.conf` or `.cfg`. Ours end in `.toml`.
pub fn is_denyhosts(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let ends = |end: &str| name.ends_with(end);
    !ends(".toml") && (ends(".conf") || ends(".cfg") || name.starts_with("denyhosts"))
}

/// What the text of a configuration of DenyHosts means, or what is wrong with it: each problem with its line, 0 for what
/// the file lacks.
pub fn translate(text: &str, world: &World<'_>) -> Result<Translation, Vec<(usize, String)>> {
    let (settings, remarks, problems) = conf::read(text, world);
    keys::translate(&settings, world, remarks, problems)
}

mod old;
pub use old::{Old, old};

/// A path as DenyHosts took it: below the directory where it was started, if it is relative.
fn absolute(value: &str, world: &World<'_>) -> PathBuf {
    world.directory.join(value)
}
