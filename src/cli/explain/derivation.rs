//! All that is known of one line, and which counters it would move.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use inputs::record::{Batch, Record, SourceId, Timestamp};
use inputs::syslog::parse::{Format, Parser};

use super::parts;
use crate::cli::lines::Reading;
use crate::cli::output::{Screen, Style, count, when};
use crate::clock;
use crate::config::Config;
use crate::decide::engine::Engine;
use crate::decide::policy::Class;
use crate::decide::session::Outcome;
use crate::detect::address::Peer;
use crate::detect::event::Account;
use crate::intake::{Counts, Seen, Source, address, fold};
use crate::text::{plain, printable};

/// Prints it, or the object that has of it what a log's lines have.
pub(super) fn print(line: &[u8], reading: Reading, as_json: bool, config: &Config) -> anyhow::Result<ExitCode> {
    let written = Written { format: reading.format, framed: reading.framed };
    let now = clock::now();
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let batch = reading.parser.unwrap_or_default().batch(now, [line]);
    let mut engine = Engine::new(config.policy());
    let mut source = Source::new(SourceId(0), None, &clock::host_name());
    source.bare = reading.bare;
    source.forgeable = reading.forgeable;
    source.host = reading.host;
    let rules = Arc::new(config.rules()?.rules);
    source.rules = Arc::clone(&rules);
    let mut screen = Screen::new();
    let mut printed = Ok(());
    fold(&mut engine, &mut source, &batch, &mut Counts::default(), |seen, engine| {
        if as_json {
            printed = super::print_json(&mut screen, 1, seen);
            return;
        }
        printed = derive(&mut screen, &batch, seen, &written, engine);
        let rule = seen.event.and_then(|event| rules.named(event.rule)).filter(|_| printed.is_ok());
        if let Some(rule) = rule {
            printed = writeln!(screen, "{:<10} {}", "pattern", plain(rule.pattern()));
        }
        let is_forgeable = reading.forgeable || seen.record.stdout || seen.event.is_some_and(|event| event.forgeable);
        if printed.is_ok() && folds(seen) && is_forgeable {
            let what =
                "strangers may have made it up: what rests on it denies for an hour at most, and it clears nothing";
            printed = writeln!(screen, "{:<10} {what}", "trust");
        }
    });
    printed?;
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a record moves anything.
fn folds(seen: &Seen<'_>) -> bool {
    seen.folded.as_ref().is_some_and(|folded| !matches!(folded.outcome, Outcome::Ignored | Outcome::Unknown))
}

fn derive(screen: &mut Screen, batch: &Batch, seen: &Seen<'_>, how: &Written, engine: &Engine) -> std::io::Result<()> {
    let record = &seen.record;
    let line = batch.lines().next().unwrap_or_default();
    let mut say = |what: &str, text: &str| writeln!(screen, "{what:<10} {text}");
    say("written", how.told(line, record))?;
    say("time", &record.event.map_or("not said: it counts when it is read".to_owned(), when))?;
    say("host", &named(record.host, "not said: this machine"))?;
    let pid = record.pid.map_or(String::new(), |pid| format!(", process {pid}"));
    say("program", &format!("{}{pid}", named(record.identifier, "not said")))?;
    let parts = parts::of(seen);
    let message: Vec<_> = parts.iter().map(|(text, style)| (printable(text), *style)).collect();
    let text: String = message.iter().map(|(text, _)| text.as_str()).collect();
    say("message", &text)?;
    // Marks that a pipe shows as well.
    let marks: String = message.iter().map(|(text, style)| mark(*style).repeat(text.len())).collect();
    if !marks.trim().is_empty() {
        let known = [('-', "the peer's address"), ('~', "what a stranger can choose")].into_iter();
        let legend = known.filter(|(mark, _)| marks.contains(*mark)).map(|(mark, what)| format!("   {mark} {what}"));
        say("", &format!("{}{}", marks.trim_end(), legend.collect::<String>()))?;
    }
    let Some(event) = &seen.event else {
        let hint = if record.identifier.is_empty() {
            "; it names no program: if it is what sshd itself prints, say --identifier sshd"
        } else {
            ""
        };
        return say("means", &format!("nothing to denyd: no grammar and no rule knows it{hint}"));
    };
    say("shape", event.rule)?;
    if let Some(user) = event.user {
        let account = match event.account {
            Account::Known => "which exists",
            Account::Unknown => "which does not exist",
            Account::Unsaid if calls_it_invalid(record.message) => {
                "which may exist: sshd says this also of accounts that may not log in; only `Invalid user …` proves that \
                 there is none"
            }
            Account::Unsaid => "of which the line does not say whether it exists",
        };
        say("user", &format!("{}, {account}", named(user, "the empty name")))?;
    }
    let port = event.port.map_or(String::new(), |port| format!(", port {port}"));
    match (event.peer, address(seen)) {
        (_, Some(address)) => say("address", &format!("{address}{port}"))?,
        (Peer::Name(name), None) => {
            say("address", &format!("only a name, {}: names in logs are never looked up", printable(name)))?;
        }
        _ => say("address", "none in this line; another line of its connection may have one")?,
    }
    let Some(folded) = &seen.folded else {
        return say("means", "nothing: who wrote it may not write for this program");
    };
    let (word, style) = super::word(folded.outcome);
    let why = match (folded.outcome, folded.attempts()) {
        (Outcome::Failure, 0) if folded.peer.is_none() => {
            ": an attempt without an address, which counts against nobody unless another line of its connection has one"
                .to_owned()
        }
        (Outcome::Failure, 0) => "; it adds no attempt by itself, its connection's other lines decide".to_owned(),
        (Outcome::Failure, times) => format!(": {}", count(times, "attempt", "attempts")),
        (Outcome::Ignored, _) => ": another line of the connection tells what happened, or nothing did".to_owned(),
        (Outcome::Unknown, _) => ": no shape of this program's messages fits".to_owned(),
        (Outcome::Probe, _) => ": a connection that ended before a login was begun".to_owned(),
        (Outcome::Refused, _) => ": the server would not talk to it; that never denies".to_owned(),
        (Outcome::Success, _) => String::new(),
    };
    let shown = screen.paint(style, word);
    let mut say = |what: &str, text: &str| writeln!(screen, "{what:<10} {text}");
    say("means", &format!("{shown}{why}"))?;
    let Some(peer) = folded.peer else { return Ok(()) };
    let prefix = engine.policy.prefix(peer);
    for class in folded.classes().iter() {
        say("counts", &counted(engine, class, &prefix.to_string(), folded.attempts().max(1)))?;
    }
    if let Some(special) = engine.policy.special(peer).filter(|special| special.bits.is_some()) {
        say("special", &special.to_string())?;
    }
    if let Some(entry) = engine.policy.allow.allowed_by(peer.into()) {
        say("allowed", &format!("by {entry}: it is never denied"))?;
    }
    Ok(())
}

/// Whether sshd's own words before the user's name call it invalid (`illegal` before 3.9).
fn calls_it_invalid(message: &[u8]) -> bool {
    [&b"invalid user "[..], b"illegal user "].iter().any(|words| memchr::memmem::find(message, words).is_some())
}

/// `invalid of 192.0.2.7: + 1; denied when it is more than 5`
fn counted(engine: &Engine, class: Class, prefix: &str, times: u32) -> String {
    let threshold = match engine.policy.thresholds[class as usize] {
        Some(threshold) => format!("denied when there are more than {}", threshold.0),
        None => "it is never denied for that".to_owned(),
    };
    format!("+{times} {} of {prefix}; {threshold}", class.name())
}

fn mark(style: Style) -> &'static str {
    match style {
        Style::Underlined => "-",
        Style::Strange => "~",
        _ => " ",
    }
}

fn named(bytes: &[u8], none: &str) -> String {
    if bytes.is_empty() { none.to_owned() } else { printable(bytes) }
}

/// How lines are to be read.
struct Written {
    format: Format,
    framed: bool,
}

impl Written {
    /// How a line is written, for people: the parser tells these apart in the same way.
    fn told(&self, line: &[u8], record: &Record<'_>) -> &'static str {
        match (self.format, line.first()) {
            (Format::Message, _) => "as a bare message, as asked",
            _ if self.framed && names_none(line) && !record.identifier.is_empty() => {
                "in no way that is known; format_regex of the configuration says where sshd's message is"
            }
            (_, Some(b'{')) if record.stdout => "by docker, in its json-file",
            _ if record.stdout => "by a container's engine (CRI, or docker's syslog driver)",
            (_, Some(b'@')) if record.labelled => "by multilog, or in its way (TAI64N)",
            (_, Some(b'<')) if memchr::memmem::find(&line[..line.len().min(6)], b">1 ").is_some() => {
                "as sent, RFC 5424"
            }
            (_, Some(b'<')) => "as sent, RFC 3164",
            _ if record.event.is_none() && record.pid.is_none() => "in no way that is known: all of it is the message",
            (_, Some(b'0'..=b'9')) if line.get(10) == Some(&b'T') => "as in a file, with an RFC 3339 stamp",
            _ if line.get(16) == Some(&b'[') => "by metalog",
            _ if line.get(3) == Some(&b' ') && line.get(15) == Some(&b' ') => "as in a file, with an RFC 3164 stamp",
            _ => "as in a file, with a stamp that few daemons write",
        }
    }
}

/// Whether no program is named in a line, as far as its header is known.
fn names_none(line: &[u8]) -> bool {
    Parser::default().batch(Timestamp(0), [line]).records().all(|record| record.identifier.is_empty())
}
