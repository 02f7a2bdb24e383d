//! What is told in DenyHosts' own words, and what reports say of addresses: `[report]`.

use std::path::PathBuf;

use super::Config;
use super::codec::{Codec, text_that, yes};
use super::key::Key;
use super::values::path;
use crate::compat::LOG_FIELDS;

/// The longest format, in bytes.
const FORMAT_MAX: usize = 500;
/// The widest field of a message format.
const WIDTH_MAX: usize = 200;

/// What is told in DenyHosts' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A log file with DenyHosts' lines; `None` = none is written.
    pub log_file: Option<PathBuf>,
    /// How its lines say the time, for strftime(3); `None` = as DenyHosts does, with milliseconds.
    pub log_time_format: Option<String>,
    /// What its lines look like. Default DenyHosts' own form.
    pub log_message_format: Format,
    /// Whether syslog is told each item of a report. Default false.
    pub syslog: bool,
    /// Whether names stand beside addresses in mail, webhook and syslog. Default false.
    pub host_names: bool,
    /// Whether a login from where too many failed is told where the address is allowed. Default true.
    pub suspicious_of_allowed: bool,
    /// A file with a line for each deny; `None` = none is written.
    pub table_file: Option<PathBuf>,
}

impl Default for Report {
    fn default() -> Self {
        Report {
            log_file: None,
            log_time_format: None,
            log_message_format: Format::default(),
            syslog: false,
            host_names: false,
            suspicious_of_allowed: true,
            table_file: None,
        }
    }
}

/// What a line of the log file looks like, as Python's logging has it: texts and fields such as `%(message)s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    text: String,
    pieces: Vec<Piece>,
}

/// A part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// One of [`LOG_FIELDS`].
    Field {
        /// Which.
        name: &'static str,
        /// Characters that it has at least.
        width: usize,
        /// Whether it stands at the left of them.
        left: bool,
        /// Whether it is filled up with zeros.
        zeros: bool,
    },
}

impl Format {
    /// DenyHosts' own.
    pub const USUAL: &str = "%(asctime)s - %(name)-12s: %(levelname)-8s %(message)s";

    /// Its parts, in their order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn read(text: &str) -> Result<Format, String> {
        let expected = || {
            let fields = LOG_FIELDS.iter().map(|name| format!("%({name})s")).collect::<Vec<_>>().join(" ");
            format!(
                "expected a text with these fields, %% for a percent sign, and a width at most, as in %(name)-12s: {fields}"
            )
        };
        if text.len() > FORMAT_MAX || text.contains(char::is_control) {
            return Err(format!("expected at most {FORMAT_MAX} bytes without control characters"));
        }
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, behind)) = rest.split_once('%') {
            plain += before;
            if let Some(behind) = behind.strip_prefix('%') {
                plain.push('%');
                rest = behind;
                continue;
            }
            let (field, behind) = field(behind).ok_or_else(expected)?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(field);
            rest = behind;
        }
        plain += rest;
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Format { text: text.to_owned(), pieces })
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Format::read(text)
    }
}

impl Default for Format {
    fn default() -> Self {
        Format::read(Format::USUAL).expect("it has known fields alone")
    }
}

/// What stands behind a percent sign: the field, and what is behind that.
fn field(text: &str) -> Option<(Piece, &str)> {
    let (name, behind) = text.strip_prefix('(')?.split_once(')')?;
    let name = LOG_FIELDS.iter().find(|known| **known == name)?;
    let digits = behind.trim_start_matches(['-', '0', '+', ' ', '#']);
    let flags = &behind[..behind.len() - digits.len()];
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    let width = &digits[..digits.len() - rest.len()];
    let width = if width.is_empty() { 0 } else { width.parse().ok().filter(|width| *width <= WIDTH_MAX)? };
    // A precision says how many digits a number has behind its point; these are whole.
    let rest = rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let rest = rest.strip_prefix(['s', 'd', 'f', 'i'])?;
    let (left, zeros) = (flags.contains('-'), flags.contains('0') && !flags.contains('-'));
    Some((Piece::Field { name, width, left, zeros }, rest))
}

/// The keys of `[report]`.
pub(super) fn keys() -> Vec<Key<Config>> {
    vec![
        key("log_file", path().optional(), |r| &mut r.log_file)
            .denyhosts("DAEMON_LOG")
            .example(r#""/var/log/denyhosts""#)
            .says(
                "A log file with DenyHosts' lines and texts, for what reads them, such as Logwatch. At 1 MiB it becomes FILE.1, and
                seven of these are kept; logrotate may move it, too. The usual unit may not write below /var/log. denyd's own log
                is not this: it is on standard error, or in the journal. reports.md of the documentation says more.",
            ),
        key("log_time_format", time_format().optional(), |r| &mut r.log_time_format)
            .denyhosts("DAEMON_LOG_TIME_FORMAT")
            .example(r#""%b %d %H:%M:%S""#)
            .says("How its lines say the time, as strftime(3) has it. Default: 2026-11-21 23:38:26,229."),
        key("log_message_format", Codec::text(Format::read, |format| format.text.clone()), |r| {
            &mut r.log_message_format
        })
        .denyhosts("DAEMON_LOG_MESSAGE_FORMAT")
        .says(
            "What its lines look like, as Python's logging has it. Fields are asctime, created, msecs, name, levelname, levelno,
            process and message.",
        ),
        key("syslog", yes(), |r| &mut r.syslog).denyhosts("SYSLOG_REPORT").says(
            "Whether syslog is told each item of a report, by /dev/log, as `denyhosts`: who was denied, and who logged in from
            where too many had failed.",
        ),
        key("host_names", yes(), |r| &mut r.host_names).denyhosts("HOSTNAME_LOOKUP").says(
            "Whether the names of addresses stand beside them in mail, webhook and syslog. They are asked for when that is
            written, and nothing waits for it. Whoever has an address says what its name is, and learns by that that you look:
            one that does not resolve back is called unconfirmed.",
        ),
        key("suspicious_of_allowed", yes(), |r| &mut r.suspicious_of_allowed)
            .denyhosts("SUSPICIOUS_LOGIN_REPORT_ALLOWED_HOSTS")
            .says(
                "Whether mail, webhook and syslog tell of a login from where too many had failed when the address is on the allow
                list. `denyd list suspicious` has it in any case.",
            ),
        key("table_file", path().optional(), |r| &mut r.table_file)
            .denyhosts("PF_TABLE_FILE")
            .example(r#""/etc/blacklist""#)
            .says(
                "A file to which each denied address or prefix is appended, one a line, and from which it is taken when its deny
                ends: for a table of pf, or for other machines that fetch it. Lines of others stay. What was denied before this
                was configured is not in it.",
            ),
    ]
}

/// A key, and where its value is.
fn key<T: 'static>(name: &'static str, codec: Codec<T>, place: fn(&mut Report) -> &mut T) -> Key<Config> {
    Key::new(name, codec, move |config: &mut Config| Some(place(&mut config.report)))
}

/// A format of times.
fn time_format() -> Codec<String> {
    let fits = |text: &str| {
        let epoch = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
        let shown = jiff::fmt::strtime::format(text, &epoch);
        text.len() <= FORMAT_MAX && !text.contains(char::is_control) && shown.is_ok()
    };
    text_that(
        fits,
        format!("expected a format of strftime(3) of at most {FORMAT_MAX} bytes, such as \"%b %d %H:%M:%S\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_the_fields_that_are_known() {
        let check = |text: &str, want: Option<&str>| {
            let shown = Format::read(text).ok().map(|format| {
                let piece = |piece: &Piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Field { name, width, left, zeros } => format!("<{name} {width} {left} {zeros}>"),
                };
                format.pieces.iter().map(piece).collect::<String>()
            });
            assert_eq!(shown.as_deref(), want, "{text}");
        };
        let usual = "<asctime 0 false false> - <name 12 true false>: <levelname 8 true false> <message 0 false false>";
        check(Format::USUAL, Some(usual));
        check("100%% %(process)05d", Some("100% <process 5 false true>"));
        check("%(created).3f", Some("<created 0 false false>"));
        for wrong in ["%(funcName)s", "%(message)", "%s", "%", "%(message)x", "%(name)9999s", "a\nb"] {
            check(wrong, None);
        }
    }
}
