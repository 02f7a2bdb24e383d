//! DenyHosts' own command line: this program under the names `denyhosts`, `denyhosts.py` and `daemon-control`.
//!
//! `denyhosts` reads what the log has since the last time, denies, writes, mails, and ends; with `--daemon` it goes on, as
//! `denyd run` does. It says nothing unless something is wrong, so that it may be run by cron. `packaging/doc/denyhosts.md` tells
//! what each option does.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::person;
use crate::config::{self, Config};
use crate::daemon::lock_file::{self, Holder};
use crate::daemon::{Given, Origin};

mod background;
mod control;
mod edits;
mod once;
mod options;
mod paper;

use options::Options;

/// Where DenyHosts' configuration is, since its version 2.7.
const FILE: &str = "/etc/denyhosts.conf";

/// Which command line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    DenyHosts,
    /// `daemon-control`.
    Control,
}

/// The command line that is meant, and its arguments: by the name of the program, or by the first argument of `denyd`.
pub(super) fn meant(arguments: &[String]) -> Option<(Name, Vec<String>)> {
    let base = |word: &String| word.rsplit('/').next().unwrap_or_default().to_owned();
    let (program, rest) = arguments.split_first()?;
    let behind = |by: usize| rest.iter().skip(by).cloned().collect::<Vec<_>>();
    match (base(program).as_str(), rest.first().map(String::as_str)) {
        // DenyHosts' own way: a link in init's directory.
        ("denyhosts", _) if in_init(program) => Some((Name::Control, behind(0))),
        ("denyhosts" | "denyhosts.py", _) => Some((Name::DenyHosts, behind(0))),
        ("daemon-control", _) => Some((Name::Control, behind(0))),
        // A link in a directory of a run level: S20denyhosts, K20daemon-control.
        (link, None) if of_init(link) => {
            let verb = if link.starts_with('S') { "start" } else { "stop" };
            Some((Name::Control, vec![verb.to_owned()]))
        }
        (link, Some(_)) if of_init(link) => Some((Name::Control, behind(0))),
        (_, Some("denyhosts")) => Some((Name::DenyHosts, behind(1))),
        (_, Some("daemon-control")) => Some((Name::Control, behind(1))),
        _ => None,
    }
}

fn in_init(program: &str) -> bool {
    let directory = program.rsplit('/').nth(1).unwrap_or_default();
    directory == "init.d" || directory.len() == 5 && directory.starts_with("rc") && directory.ends_with(".d")
}

fn of_init(name: &str) -> bool {
    let rest = name.strip_prefix(['S', 'K']).map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    rest.is_some_and(|rest| matches!(rest, "denyhosts" | "daemon-control"))
}

/// Runs it; whatever goes wrong is exit status 1, as it was.
pub(super) fn run(name: Name, arguments: &[String]) -> ExitCode {
    let (called, done) = match name {
        Name::DenyHosts => ("denyhosts", denyhosts(arguments)),
        Name::Control => ("daemon-control", control::run(arguments)),
    };
    done.unwrap_or_else(|error| {
        if super::output::is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("{called}: {error:#}");
        ExitCode::from(1)
    })
}

fn denyhosts(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut options = match options::parse(arguments) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("denyhosts: {problem}\n{USAGE}");
            return Ok(ExitCode::from(1));
        }
    };
    if options.help || options.version {
        let version = format!("DenyHosts version: denyd {}\n", env!("CARGO_PKG_VERSION"));
        std::io::stdout().write_all(if options.help { USAGE } else { &version }.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(verb) = options.words.first().filter(|word| !options.purgeip && control::VERBS.contains(&word.as_str()))
    {
        bail!("{verb} is daemon-control's: daemon-control {verb}");
    }
    if !options.purgeip && !options.words.is_empty() {
        eprintln!("denyhosts: {} means nothing here, and is left out", options.words.join(" ").escape_debug());
    }
    let file = file(options.config.take())?;
    let is_daemon = options.daemon || options.foreground;
    // Who is in the background goes by the last good configuration, as `denyd run` does.
    let (config, broken) = match is_daemon {
        true => Config::read_or_last(&file)?,
        false => (Config::read(&file)?, None),
    };
    if options.unlock {
        unlock(&config)?;
    }
    if !is_daemon {
        return once::run(&options, &file, config);
    }
    let ignored = [
        (!options.files.is_empty(), "--file"),
        (options.ignore, "--ignore"),
        (options.purge, "--purge"),
        (options.purge_all, "--purge-all"),
        (options.purgeip, "--purgeip"),
        (options.migrate, "--migrate"),
        (options.upgrade099, "--upgrade099"),
        (options.sync, "--sync"),
    ];
    for (_, name) in ignored.iter().filter(|(is_set, _)| *is_set && !options.detached) {
        eprintln!("denyhosts: {name} means nothing beside --daemon and --foreground; run denyhosts {name} by itself");
    }
    let given = given(&options);
    let origin = Origin {
        file: Some(file.clone()),
        broken: broken.map(|error| error.to_string()),
        caller: person::address(),
        given,
        forgive_deleted: false,
    };
    match options.foreground || options.detached {
        true => background::here(config, origin, options.detached),
        false => background::start(&options, &file, &config),
    }
}

/// The configuration's file, by an absolute path: a daemon in the background has another directory.
fn file(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let usual = || [FILE, config::FILE].iter().map(Path::new).find(|usual| usual.exists()).map(Path::to_owned);
    let Some(file) = named.or_else(usual) else {
        bail!("there is no {FILE}, nor {}; name the configuration: denyhosts --config=FILE", config::FILE);
    };
    std::path::absolute(&file).with_context(|| format!("cannot tell where {} is", file.display()))
}

/// What holds beside the configuration.
fn given(options: &Options) -> Given {
    let log_level = match (options.debug, options.verbose) {
        (true, _) => Some(tracing::Level::DEBUG),
        (false, true) => Some(tracing::Level::INFO),
        (false, false) => None,
    };
    Given { no_mail: options.noemail, log_level }
}

/// `--unlock`: removes a lock file that was left behind. One whose process lives locks something.
fn unlock(config: &Config) -> anyhow::Result<()> {
    let Some(path) = &config.compat.lock_file else { return Ok(()) };
    match lock_file::holder(path) {
        None => Ok(()),
        Some(Holder::Stale) => lock_file::remove(path).with_context(|| format!("{} cannot be removed", path.display())),
        Some(Holder::Denyd(pid) | Holder::DenyHosts(pid)) => {
            bail!("{} is of process {pid}, which runs: stop it first, and it removes the file", path.display())
        }
    }
}

const USAGE: &str = "\
Usage: denyhosts [options]
  -f FILE, --file=FILE   read this log from end to end instead, by the times in it; several are read by repeating it;
                         .gz, .bz2, .xz and .zst as well
  -c FILE, --config=FILE the configuration [/etc/denyhosts.conf, else /etc/denyd/denyd.toml]
  -i, --ignore           read the log from its beginning, and not from where the last run ended; nothing counts twice
  -n, --noemail          send no mail
  -v, --verbose          say what is done
  -d, --debug            say more
  -p, --purge            end denies that are older than PURGE_DENY
      --purge-all        end all denies but those that are for life
      --purgeip ADDR...  end the denies of these addresses, and forget their failures
      --migrate          put a time above each entry of HOSTS_DENY that has none, so that --purge ends it
      --upgrade099       move the times of DenyHosts 0.9.8 in HOSTS_DENY above their entries
      --yes              do so without asking
      --daemon           go on in the background
      --foreground       go on, and stay in the foreground
  -s, --sync             share denied hosts with SYNC_SERVER, once the log is read
      --unlock           remove a LOCK_FILE whose process is gone
      --identifier NAME  the program whose own output the --file is, such as sshd: lines without a header
      --version          print the version
  -h, --help             print this
Long options may be cut short. Exit status: 0 if all went well, else 1. Without root it prints what to put into
HOSTS_DENY. The same as a service: denyd run, see denyd(1).
";

/// What both command lines say of themselves, by their names.
pub(super) const USAGES: [(&str, &str, &str); 2] = [
    (
        "denyhosts",
        "DenyHosts' command line: what came in sshd's log since the last run is judged, and who is to be is denied",
        USAGE,
    ),
    ("daemon-control", "starts and stops denyd as DenyHosts' daemon, for init", control::USAGE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_which_command_line_is_meant() {
        let check = |line: &str, want: Option<(Name, &str)>| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let want = want.map(|(name, rest)| (name, rest.split_whitespace().map(str::to_owned).collect()));
            assert_eq!(meant(&words), want, "{line}");
        };
        check("/usr/sbin/denyhosts -d", Some((Name::DenyHosts, "-d")));
        check("denyhosts.py", Some((Name::DenyHosts, "")));
        check("./daemon-control status", Some((Name::Control, "status")));
        check("/etc/rc2.d/S20denyhosts", Some((Name::Control, "start")));
        check("/etc/rc2.d/S20denyhosts start", Some((Name::Control, "start")));
        check("/etc/rc6.d/K20denyhosts stop", Some((Name::Control, "stop")));
        check("/etc/init.d/denyhosts restart", Some((Name::Control, "restart")));
        check("/etc/rcS.d/denyhosts start", Some((Name::Control, "start")));
        check("/usr/share/denyhosts/denyhosts start", Some((Name::DenyHosts, "start")));
        check("/etc/rc0.d/K20daemon-control", Some((Name::Control, "stop")));
        check("denyd denyhosts --purge", Some((Name::DenyHosts, "--purge")));
        check("denyd daemon-control stop", Some((Name::Control, "stop")));
        check("denyd run", None);
        check("denyd list denyhosts", None);
        check("Sdenyd", None);
    }
}
