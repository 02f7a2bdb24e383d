//! How a log is read that a person names: as the options say, else as the input of the
//! configuration says that reads it.

use std::path::Path;

use anyhow::{Context, bail};
use inputs::journald::printed;
use inputs::record::{Batch, Record, Timestamp};
use inputs::syslog::parse::{Format, Parser};
use jiff::tz::TimeZone;

use crate::config::{self, Config, FORMATS, Input, Source};
use crate::detect::event::Kind;
use crate::intake::hear;

/// Records of a log without any header, after which it is said to have none.
const SAMPLE: usize = 100;

/// What a person may say of a log.
#[derive(clap::Args, Debug, Default)]
pub(super) struct Options {
    /// How the lines are written [default: the input's of the configuration that reads this file, else auto]
    #[arg(long)]
    format: Option<LineFormat>,
    /// The zone of stamps that name none [default: the input's, else this machine's]
    #[arg(long, value_name = "IANA-NAME")]
    timezone: Option<String>,
    /// The program whose own output it is, such as sshd: lines without a header [default: the input's]
    #[arg(long, value_name = "NAME", value_parser = config::program_name)]
    identifier: Option<&'static str>,
    /// The host that all records are of, instead of the one that they claim [default: the input's]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

/// How one log is read.
pub(super) struct Reading {
    /// What reads its lines; `None` = it has none, it is a journal.
    pub(super) parser: Option<Parser>,
    /// How its lines are written.
    pub(super) format: Format,
    /// Its lines are a program's own output, without header.
    pub(super) bare: bool,
    /// Whether strangers may be able to make up its records.
    pub(super) forgeable: bool,
    /// Its lines may be sshd's by a framing of the administrator's.
    pub(super) framed: bool,
    /// The host of all its records.
    pub(super) host: Option<Box<[u8]>>,
}

impl Options {
    /// Those of a program's own output, or none.
    pub(super) fn of_program(identifier: Option<&'static str>) -> Self {
        Options { identifier, ..Options::default() }
    }

    /// How the log of this name is read.
    pub(super) fn of(&self, path: &Path, config: &Config) -> anyhow::Result<Reading> {
        self.by(config.inputs.iter().find(|input| reads(input, path)))
    }

    /// How a line is read that is given by itself: where nothing is said of it and it names no program, as the only log of
    /// lines that the configuration has.
    pub(super) fn of_line(&self, line: &[u8], config: &Config) -> anyhow::Result<Reading> {
        let is_asked = self.format.is_some() || self.identifier.is_some();
        let is_log = |input: &&Input| matches!(input.source, Source::File(_) | Source::Multilog(_));
        let mut logs = config.inputs.iter().filter(is_log);
        let only = logs.next().filter(|_| logs.next().is_none() && !is_asked);
        let names = |record: Record<'_>| !record.identifier.is_empty() || record.stdout;
        match only {
            Some(_) if Parser::default().batch(Timestamp(0), [line]).records().any(names) => self.by(None),
            only => self.by(only),
        }
    }

    fn by(&self, input: Option<&Input>) -> anyhow::Result<Reading> {
        let lines = input.and_then(|input| match &input.source {
            Source::File(file) | Source::Multilog(file) => Some(file),
            Source::Journald(_) | Source::Syslog(_) => None,
        });
        let is_journal = matches!(self.format, Some(LineFormat(None)));
        let asked = self.format.and_then(|format| format.0);
        let format = asked.or(lines.map(|lines| lines.format)).unwrap_or_default();
        let headless = matches!(format, Format::Auto | Format::Multilog | Format::Message);
        let identifier = match self.identifier {
            Some(_) if is_journal || !headless => {
                bail!(
                    "--identifier is for lines without a header, and these have one by their format (--format, or that of \
                     the input which reads this file); leave --identifier out, or say --format auto"
                )
            }
            Some(name) => Some(name),
            // What is asked for goes before what is configured.
            None => lines.and_then(|lines| lines.identifier).filter(|_| headless && !is_journal),
        };
        let zone = match &self.timezone {
            Some(name) => zone(name)?,
            None => input.and_then(|input| input.timezone.clone()).unwrap_or_else(TimeZone::system),
        };
        let mut parser = Parser::new(format, zone);
        parser.bare(identifier);
        let framing = input.and_then(Input::framing).filter(|_| identifier.is_none() && !is_journal);
        parser.frame(framing.cloned());
        let host = self.host.as_ref().or(input.and_then(|input| input.host.as_ref()));
        Ok(Reading {
            parser: (!is_journal).then_some(parser),
            format,
            bare: identifier.is_some() || format == Format::Message,
            forgeable: identifier.is_some() || format == Format::Message || input.is_some_and(Input::is_forgeable),
            framed: framing.is_some(),
            host: host.map(|host| host.to_ascii_lowercase().into_bytes().into()),
        })
    }
}

impl Reading {
    /// Refuses what `journalctl` printed in a form that has no header: it would be read, and nothing seen in it.
    /// `first` is what was read first of the log.
    pub(super) fn refuse_headless(&self, path: &Path, first: &Batch) -> anyhow::Result<()> {
        let form = first.lines().take(SAMPLE).find_map(printed::form);
        let form = form.or_else(|| (!self.bare && is_headless(first)).then_some("cat"));
        let Some(form) = form else { return Ok(()) };
        let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let or = if form == "cat" { ", or if it is a program's own output say --identifier sshd" } else { "" };
        bail!(
            "{name}: these lines are as `journalctl -o {form}` prints them, which do not say line by line who wrote them \
             when; print them with `journalctl -o export` (or json, short-iso){or}"
        )
    }
}

/// Whether no record has a header, and one would be sshd's if it had.
fn is_headless(batch: &Batch) -> bool {
    let rules = crate::detect::rule::Rules::default();
    let mut records = batch.records().filter(|record| !record.message.is_empty()).take(SAMPLE).peekable();
    let mut any = false;
    let none = records.peek().is_some()
        && records.all(|mut record| {
            let is_bare = record.identifier.is_empty() && record.event.is_none() && !record.truncated && !record.stdout;
            record.identifier = b"sshd";
            any |= is_bare && hear(&record, &rules).is_some_and(|event| event.kind != Kind::Unknown);
            is_bare
        });
    none && any
}

/// Whether an input reads this file, or did before it was rotated.
fn reads(input: &Input, path: &Path) -> bool {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is = |place: &Path| std::fs::canonicalize(place).is_ok_and(|place| place == path) || place == path;
    let holds = |directory: &Path| {
        path.parent().is_some_and(|parent| std::fs::canonicalize(directory).is_ok_and(|it| it == parent))
    };
    match &input.source {
        Source::File(file) => {
            let rotated = || {
                let (log, name) = (file.path.file_name()?.to_str()?, path.file_name()?.to_str()?);
                name.strip_prefix(log).filter(|rest| rest.starts_with(['.', '-']))
            };
            is(&file.path) || file.path.parent().is_some_and(|parent| holds(parent) && rotated().is_some())
        }
        Source::Multilog(file) => holds(&file.path),
        Source::Journald(journald) => journald.directory.as_deref().is_some_and(|place| is(place) || holds(place)),
        Source::Syslog(_) => false,
    }
}

/// `--format`: how the lines of a file are written; `None` = it has no lines, it is a journal.
#[derive(Clone, Copy, Debug)]
struct LineFormat(Option<Format>);

impl std::str::FromStr for LineFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "journal-json" {
            return Ok(LineFormat(None));
        }
        let known = FORMATS.iter().find(|(name, _)| *name == text).map(|(_, format)| LineFormat(Some(*format)));
        known.ok_or("the formats are auto, syslog, message, multilog, metalog and journal-json".to_owned())
    }
}

/// The zone of that name.
fn zone(name: &str) -> anyhow::Result<TimeZone> {
    TimeZone::get(name)
        .with_context(|| format!("{name} is not a time zone that this machine knows, such as Europe/Berlin or UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_by_its_input_through_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let input =
            Input::of(Source::File(crate::config::File { path: dir.path().join("auth.log"), ..Default::default() }));
        let check = |name: &str, want| assert_eq!(reads(&input, &dir.path().join(name)), want, "{name}");
        for name in ["auth.log", "auth.log.1", "auth.log-20261122", "auth.logs", "other"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        check("auth.log", true);
        check("auth.log.1", true);
        check("auth.log-20261122", true);
        check("auth.logs", false);
        check("other", false);
    }

    #[test]
    fn what_has_no_header_is_told() {
        let check = |lines: &str, want: bool| {
            let batch = Parser::default().batch(Timestamp(0), lines.lines().map(str::as_bytes));
            assert_eq!(is_headless(&batch), want, "{lines}");
        };
        check("Failed password for root from 192.0.2.7 port 22 ssh2\nsomething else", true);
        check("something else", false);
        check("", false);
        check("Failed password for root from 192.0.2.7 port 22 ssh2\nNov 21 23:26:32 b sshd[9]: x", false);
    }
}
