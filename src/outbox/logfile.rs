//! A log file with DenyHosts' lines and texts, for programs that read those, such as Logwatch.
//!
//! Lines are DenyHosts 3.1.2's, as far as they have a meaning here. The file is opened for each write, so whoever moves it
//! gets a fresh one made. At 1 MiB it becomes `FILE.1`, and that `FILE.2`, up to seven. What cannot be written waits in the
//! history; what was written in part is taken back.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use inputs::record::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use nix::unistd::AccessFlags;
use rustix::fs::OFlags;

use super::news::{News, What};
use super::output::{Beside, Output, Told, lock};
use crate::clock;
use crate::config::Report;
use crate::config::report::Piece;
use crate::spot::Spot;
use crate::text::printable;

/// A file is this large at most, and so many older ones are kept, as DenyHosts has them.
const SIZE_MAX: u64 = 1024 * 1024;
const KEPT_MAX: usize = 7;
/// The mode of a fresh file.
const MODE: u32 = 0o640;
/// What DenyHosts writes of a time where nothing else is configured.
const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// What writes the file.
pub(super) struct LogFile {
    path: PathBuf,
    report: Report,
    /// The lines that the file begins a life of the daemon with, until they are written.
    first: Vec<String>,
    is_daemon: bool,
}

impl LogFile {
    /// Nothing is written yet. `logs` are the files that a daemon reads; a run that ends says nothing of itself.
    pub(super) fn new(report: Report, logs: Option<&[PathBuf]>) -> LogFile {
        let mut first = Vec::new();
        if let Some(logs) = logs {
            first.push(format!("launching DenyHosts daemon (version denyd {})...", env!("CARGO_PKG_VERSION")));
            first.push(format!("DenyHost daemon is now running, pid: {}", std::process::id()));
            first.extend(logs.iter().map(|log| format!("monitoring log: {}", log.display())));
        }
        LogFile { path: report.log_file.clone().unwrap_or_default(), report, first, is_daemon: logs.is_some() }
    }

    fn line(&self, text: &str, now: Timestamp) -> String {
        line(&self.report, ("denyhosts", "INFO"), text, now)
    }

    fn write(&self, lines: &[String]) -> Result<(), String> {
        let now = clock::now();
        let text: String = lines.iter().map(|line| self.line(line, now)).collect();
        append(&self.path, text.as_bytes()).map_err(|error| cannot(&self.path, &error))
    }
}

/// Writes a line of another part of DenyHosts, where a file is configured. Nobody is told where that fails: it is no decision.
pub(super) fn say(report: &Report, name: &str, level: &str, text: &str) {
    if let Some(path) = &report.log_file {
        let _ = append(path, line(report, (name, level), text, clock::now()).as_bytes());
    }
}

/// A line of DenyHosts' log, by the part of it that writes and how severe it is.
fn line(report: &Report, (part, level): (&str, &str), text: &str, now: Timestamp) -> String {
    let mut line = String::new();
    for piece in report.log_message_format.pieces() {
        let (name, width, left, zeros) = match piece {
            Piece::Text(text) => {
                line += text;
                continue;
            }
            Piece::Field { name, width, left, zeros } => (*name, *width, *left, *zeros),
        };
        let value = match name {
            "asctime" => time(report, now),
            "created" => format!("{}.{:06}", now.secs(), now.0.rem_euclid(1_000_000)),
            "msecs" => (now.0.rem_euclid(1_000_000) / 1000).to_string(),
            "name" => part.to_owned(),
            "levelname" => level.to_owned(),
            "levelno" => if level == "ERROR" { "40" } else { "20" }.to_owned(),
            "process" => std::process::id().to_string(),
            _ => text.to_owned(),
        };
        line += &match (left, zeros) {
            (true, _) => format!("{value:<width$}"),
            (false, true) => format!("{value:0>width$}"),
            (false, false) => format!("{value:>width$}"),
        };
    }
    line.push('\n');
    line
}

/// A time as DenyHosts' log has it.
fn time(report: &Report, now: Timestamp) -> String {
    let Ok(time) = jiff::Timestamp::from_microsecond(now.0) else { return "-".to_owned() };
    let time = time.to_zoned(TimeZone::system());
    let shown = match &report.log_time_format {
        Some(format) => strtime::format(format, &time),
        None => strtime::format(TIME, &time).map(|shown| format!("{shown},{:03}", now.0.rem_euclid(1_000_000) / 1000)),
    };
    // A zone that has no name may be asked for.
    shown.unwrap_or_else(|_| time.to_string())
}

impl Output for LogFile {
    fn begin(&mut self) -> Result<(), String> {
        self.write(&self.first)?;
        self.first.clear();
        Ok(())
    }

    fn tell(&mut self, news: &[News], _: &Beside, told: &Told<'_>) -> Result<(), String> {
        let lines = lines(news);
        self.write(&lines)?;
        lines.iter().for_each(|_| told.went(Ok(())));
        Ok(())
    }

    fn end(&mut self) {
        if !self.is_daemon {
            return;
        }
        // Nobody reads this who could do something about it.
        let _ = self.write(&["DenyHosts daemon is shutting down".to_owned()]);
    }
}

/// What DenyHosts says of it.
fn lines(news: &[News]) -> Vec<String> {
    let list = |all: Vec<String>| all.iter().map(|one| repr(one)).collect::<Vec<_>>().join(", ");
    let of = |each: fn(&What) -> Option<String>| news.iter().filter_map(|one| each(&one.what)).collect::<Vec<_>>();
    let logins = of(|what| match what {
        What::Suspicious(address, user) => Some(format!("{user} - {address}")),
        _ => None,
    });
    let denied = of(|what| match what {
        What::Denied(prefix) => Some(prefix.to_string()),
        _ => None,
    });
    let ended = news.iter().filter(|one| matches!(one.what, What::Ended(_))).count();
    let mut lines = Vec::new();
    if !denied.is_empty() {
        lines.push(format!("new denied hosts: [{}]", list(denied)));
    }
    if !logins.is_empty() {
        lines.push(format!("new suspicious logins: [{}]", list(logins)));
    }
    if ended > 0 {
        lines.push(format!("num entries purged: {ended}"));
    }
    lines
}

/// A text as Python shows it in a list.
fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for c in text.chars() {
        if c == quote || c == '\\' {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown.push(quote);
    shown
}

/// Appends to a file, after it gave way to a fresh one where it would grow too large. What is written in part is taken back.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    // Two threads write, and one alone may have it give way.
    static WRITING: Mutex<()> = Mutex::new(());
    let _alone = lock(&WRITING);
    let spot = Spot::of(path)?;
    let open = || spot.open(OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE, MODE);
    let mut file = open()?;
    let mut size = file.metadata()?.len();
    if size > 0 && size + bytes.len() as u64 > SIZE_MAX {
        rotate(&spot)?;
        file = open()?;
        size = file.metadata()?.len();
    }
    file.write_all(bytes).inspect_err(|_| {
        let _ = file.set_len(size); // else there is half a line
    })
}

/// `FILE` becomes `FILE.1`, that `FILE.2`, and so on; the last goes.
fn rotate(spot: &Spot) -> io::Result<()> {
    for number in (1..KEPT_MAX).rev() {
        match spot.rename(&format!(".{number}"), &format!(".{}", number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    spot.rename("", ".1")
}

/// Why the file cannot be written, as far as that can be seen without writing into it.
pub fn problem(path: &Path) -> Option<String> {
    let may = |path: &Path, flags: AccessFlags| nix::unistd::access(path, flags).map_err(io::Error::from);
    let (write, search) = (AccessFlags::W_OK, AccessFlags::X_OK);
    let tried = Spot::of(path).and_then(|spot| match spot.look()? {
        Some(found) => spot.admit(&found).and_then(|()| may(spot.path(), write)),
        None => may(spot.path().parent().unwrap_or(path), write | search),
    });
    tried.err().map(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> String {
    printable(format!("{} cannot be written: {error}", path.display()).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::desk::reply::At;

    #[test]
    fn news_are_lines_of_denyhosts() {
        let news = |what| News { id: 1, at: At::default(), what };
        let address = "192.0.2.7".parse().unwrap();
        let all = [
            news(What::Denied("192.0.2.7".parse().unwrap())),
            news(What::Suspicious(address, "it's\\x1b".to_owned())),
            news(What::Ended("192.0.2.1".parse().unwrap())),
            news(What::Denied("2001:db8::/64".parse().unwrap())),
        ];
        let want = [
            "new denied hosts: ['192.0.2.7', '2001:db8::/64']",
            "new suspicious logins: [\"it's\\\\x1b - 192.0.2.7\"]",
            "num entries purged: 1",
        ];
        assert_eq!(lines(&all), want);
        assert_eq!(repr("a'b\"c"), "'a\\'b\"c'");
    }

    #[test]
    fn lines_have_the_form_that_is_wanted() {
        let check = |format: Option<&str>, time: Option<&str>, want: &str| {
            let mut report = Report { log_time_format: time.map(str::to_owned), ..Report::default() };
            if let Some(format) = format {
                report.log_message_format = format.parse().unwrap();
            }
            let line = LogFile::new(report, None).line("x", Timestamp(1_795_304_306_229_000));
            let pattern = regex::Regex::new(&format!("^{want}\n$")).unwrap();
            assert!(pattern.is_match(&line), "{line:?} is not {want}");
        };
        check(None, None, r"2026-11-2\d \d\d:\d\d:26,229 - denyhosts   : INFO     x");
        check(None, Some("%b %d"), r"Nov 2\d - denyhosts   : INFO     x");
        check(
            Some("%(created)f|%(msecs)05d|%(levelno)4s|%(message)-3s|%%"),
            None,
            r"1795304306.229000\|00229\|  20\|x  \|%",
        );
    }

    #[test]
    fn a_run_that_ends_is_no_daemon_that_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let check = |logs: Option<&[PathBuf]>, want: &[&str]| {
            let path = dir.path().join("log");
            let mut file = LogFile::new(Report { log_file: Some(path.clone()), ..Report::default() }, logs);
            file.begin().unwrap();
            file.end();
            let text = fs::read_to_string(path).unwrap_or_default();
            assert_eq!(text.lines().count(), want.len(), "{text}");
            assert!(text.lines().zip(want).all(|(line, want)| line.contains(want)), "{text}");
        };
        check(None, &[]);
        let logs = ["/var/log/auth.log".into()];
        check(
            Some(&logs),
            &["launching DenyHosts daemon", "is now running", "monitoring log: /var/log/auth.log", "is shutting down"],
        );
    }

    #[test]
    fn a_file_that_is_large_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let half = vec![b'x'; SIZE_MAX as usize / 2];
        for _ in 0..20 {
            append(&path, &half).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2", "log.3", "log.4", "log.5", "log.6", "log.7"]);
        for name in names {
            assert_eq!(fs::metadata(dir.path().join(name)).unwrap().len(), SIZE_MAX);
        }
    }

    #[test]
    fn what_is_no_file_or_nowhere_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [at("none/log"), at(""), at("fifo"), PathBuf::from("/dev/null")] {
            assert!(append(&path, b"x\n").is_err() && problem(&path).is_some(), "{path:?}");
        }
        assert_eq!(problem(&at("log")), None);
        let full = append(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(full.to_string(), "it is no file");
    }
}
