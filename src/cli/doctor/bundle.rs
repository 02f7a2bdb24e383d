//! `denyd doctor --bundle FILE`: what a report of a fault needs, without what is private.
//!
//! Versions, the configuration in effect, the findings, the status and the last warnings. The configuration names files that
//! have secrets, and none of them is opened. All of it is shown before it is written.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::veil::{Kind, Veil};
use super::{Finding, Level};
use crate::cli::output::Screen;
use crate::clock;
use crate::config::Config;
use crate::deny::program;
use crate::desk::reply::Status;
use crate::text::printable;

/// Warnings that are kept, the last ones.
const WARNINGS: usize = 50;
/// Bytes of a log that are read, at its end.
const LOG_MAX: u64 = 1 << 20;
/// How long a program may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Users of people have these numbers (login.defs(5)).
const PEOPLE: std::ops::Range<u32> = 1000..60_000;

/// Shows the bundle, and writes it into a new file that nobody else may read.
pub(super) fn write(
    file: &Path,
    log: Option<&Path>,
    config: &Config,
    status: Option<&Status>,
    findings: &[Finding],
) -> anyhow::Result<()> {
    let text = made(log, config, status, findings)?;
    let mut screen = Screen::new();
    screen.write_all(text.as_bytes())?;
    screen.flush()?;
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut new = new.with_context(|| format!("cannot make {}; name a file that is not there", file.display()))?;
    new.write_all(text.as_bytes())
        .and_then(|()| new.sync_all())
        .with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!(
        "written to {}. Addresses, users and host names were replaced; look through it before you attach it to a report",
        file.display()
    );
    Ok(())
}

fn made(log: Option<&Path>, config: &Config, status: Option<&Status>, findings: &[Finding]) -> anyhow::Result<String> {
    let mut veil = Veil::new()?;
    names_of_here(&mut veil);
    let configuration = without_comments(&config.to_toml());
    names_of(&configuration, &mut veil);
    // A line of a log as it came may name anybody.
    let lines = status.map_or(Vec::new(), |status| {
        let blind =
            status.inputs.iter().map(|input| &input.blind).chain(status.senders.iter().map(|sender| &sender.blind));
        blind.flatten().map(|blind| printable(blind.line.as_bytes())).filter(|line| !line.is_empty()).collect()
    });
    let status = match status {
        Some(status) => {
            let mut value = serde_json::to_value(status)?;
            for name in &status.names {
                veil.know(Kind::Host, &name.name);
            }
            veil.value_of(&mut value);
            serde_json::to_string_pretty(&value)?
        }
        None => "no daemon answers".to_owned(),
    };
    let mut told = String::new();
    for finding in findings {
        let word = match finding.level {
            Level::Fail => "FAIL",
            Level::Look => "look",
            Level::Note => "note",
        };
        let what = lines.iter().fold(finding.what.clone(), |what, line| what.replace(line, "(a line of the log)"));
        writeln!(told, "{word} {}: {what}", finding.about)?;
    }
    let mut out = String::new();
    let warnings = warnings(log);
    veil.learn(&warnings);
    for (head, text) in [
        ("versions", versions()),
        ("configuration in effect", configuration),
        ("what denyd doctor says", told),
        ("status, with the shapes that are unknown", status),
        ("the last warnings of the log", warnings),
    ] {
        writeln!(out, "== {head}\n\n{}\n", veil.text(text.trim_end()))?;
    }
    Ok(out)
}

fn versions() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut out = format!(
        "denyd {}\nsystem {}\nkernel {} {}\n",
        env!("CARGO_PKG_VERSION"),
        system.trim_matches('"'),
        kernel.trim(),
        std::env::consts::ARCH
    );
    for (name, arguments) in [("ssh", &["-V"][..]), ("nft", &["--version"]), ("iptables", &["--version"])] {
        let said = said(name, arguments).unwrap_or_else(|| "not there".to_owned());
        out += &format!("{name} {}\n", said.lines().next().unwrap_or_default());
    }
    out
}

/// What a program says, on either of its outputs.
fn said(name: &str, arguments: &[&str]) -> Option<String> {
    let child = program::start(&program::find(name)?, arguments).ok()?;
    let output = program::finish_within(TIME_MAX, child, b"").ok()?;
    let all = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let lines = all.split(|byte| *byte == b'\n').map(printable);
    output.status.success().then(|| lines.collect::<Vec<_>>().join("\n"))
}

/// The keys alone: what each means is known.
fn without_comments(configuration: &str) -> String {
    let lines = configuration.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

/// This machine, and its people.
fn names_of_here(veil: &mut Veil) {
    let host = clock::host_name();
    veil.know(Kind::Host, host.split('.').next().unwrap_or_default());
    veil.know(Kind::Host, &host);
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (name, id) = (fields.next().unwrap_or_default(), fields.nth(1).and_then(|id| id.parse().ok()));
        if id.is_some_and(|id| PEOPLE.contains(&id)) {
            veil.know(Kind::User, name);
        }
    }
}

/// The users and hosts that the configuration names.
fn names_of(configuration: &str, veil: &mut Veil) {
    fn strings(value: &toml::Value, each: &mut impl FnMut(&str)) {
        match value {
            toml::Value::String(text) => each(text),
            toml::Value::Array(all) => all.iter().for_each(|value| strings(value, each)),
            _ => {}
        }
    }
    fn walk(table: &toml::Table, veil: &mut Veil) {
        for (key, value) in table {
            match (key.as_str(), value) {
                (_, toml::Value::Table(table)) => walk(table, veil),
                (_, toml::Value::Array(all)) if all.iter().any(toml::Value::is_table) => {
                    all.iter().filter_map(toml::Value::as_table).for_each(|table| walk(table, veil));
                }
                ("username" | "restricted_users" | "trusted_user", _) => {
                    strings(value, &mut |text| veil.know(Kind::User, text));
                }
                ("host" | "hosts" | "clients", _) => strings(value, &mut |text| veil.know(Kind::Host, text)),
                ("server", _) => strings(value, &mut |text| {
                    // A mail server with its port, or a URL.
                    let url = url::Url::parse(text).ok().and_then(|url| Some(url.host_str()?.to_owned()));
                    let host = url.as_deref().or(text.rsplit_once(':').map(|(host, _)| host)).unwrap_or(text);
                    if host != "sendmail" {
                        veil.know(Kind::Host, host);
                    }
                }),
                ("allow", _) => strings(value, &mut |text| {
                    if text.starts_with(|first: char| first.is_ascii_alphabetic()) && !text.contains(':') {
                        veil.know(Kind::Host, text);
                    }
                }),
                _ => {}
            }
        }
    }
    if let Ok(table) = configuration.parse::<toml::Table>() {
        walk(&table, veil);
    }
}

/// The last warnings and errors: of that file, or of the journal.
fn warnings(log: Option<&Path>) -> String {
    let text = match log {
        Some(file) => match end_of(file) {
            Ok(bytes) => bytes.split(|byte| *byte == b'\n').map(printable).collect::<Vec<_>>().join("\n"),
            Err(error) => return format!("{} cannot be read: {error}", file.display()),
        },
        None => {
            match said("journalctl", &["--unit", "denyd", "--lines", "5000", "--output", "short-iso", "--no-pager"]) {
                Some(text) => text,
                None => return "the journal cannot be asked; --log names the file that has denyd's log".to_owned(),
            }
        }
    };
    let grave: Vec<&str> = text.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    if grave.is_empty() { "none".to_owned() } else { grave[grave.len().saturating_sub(WARNINGS)..].join("\n") }
}

fn end_of(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    let mut file = std::fs::File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LOG_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
