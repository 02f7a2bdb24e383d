//! Whom mail goes to, and by which server: `[mail]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lettre::message::Mailbox;

use super::Config;
use super::codec::{Codec, duration, parsed, text_that, words};
use super::document::{Reader, Table};
use super::key::Key;
use super::values::path;

/// Recipients at most.
const TO_MAX: usize = 50;
/// The longest subject that is configured, in bytes.
const SUBJECT_MAX: usize = 200;

/// Whom mail goes to, and how it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Whom it goes to; nobody = no mail is sent.
    pub to: Vec<Mailbox>,
    /// Whom it is from. Default: `denyd` at the name of this machine.
    pub from: Option<Mailbox>,
    /// What its subject begins with. Default: `denyd on` and the name of this machine.
    pub subject: Option<String>,
    /// Who takes it. Default `localhost:25`.
    pub server: Server,
    /// How the connection to the server is encrypted. Default not at all, which is for a server on this machine.
    pub tls: Tls,
    /// The CAs of which one must have signed the server's certificate; `None` = those of the system.
    pub ca_file: Option<PathBuf>,
    /// Who logs in at the server, with the password in `password_file`.
    pub username: Option<String>,
    /// A file with the password alone, which only its owner may read.
    pub password_file: Option<PathBuf>,
    /// How soon the first deny after a quiet time is told. Default a minute.
    pub first_within: Duration,
    /// From one mail about denies to the next. Default an hour.
    pub every: Duration,
}

impl Default for Mail {
    fn default() -> Self {
        Mail {
            to: Vec::new(),
            from: None,
            subject: None,
            server: Server::Smtp { host: "localhost".to_owned(), port: 25 },
            tls: Tls::None,
            ca_file: None,
            username: None,
            password_file: None,
            first_within: Duration::from_secs(60),
            every: Duration::from_secs(3600),
        }
    }
}

/// Who takes mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// The program `sendmail` of this machine.
    Sendmail,
    /// A server, by SMTP.
    Smtp {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl Server {
    /// Whether nothing that is told it leaves this machine on its way there.
    pub fn is_here(&self) -> bool {
        let Server::Smtp { host, .. } = self else { return true };
        let host = host.trim_end_matches('.');
        host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Sendmail => f.write_str("sendmail"),
            Server::Smtp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Server::Smtp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected \"HOST:PORT\", such as \"mail.example.org:587\" or \"[2001:db8::1]:25\", or \
                                \"sendmail\"";
        if text == "sendmail" {
            return Ok(Server::Sendmail);
        }
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(EXPECTED)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_name = |host: &str| {
            let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            (1..=253).contains(&host.len()) && host.chars().all(of_name)
        };
        let is_ipv6 = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
        match bare {
            Some(bare) if is_ipv6(bare) => Ok(Server::Smtp { host: bare.to_owned(), port }),
            None if is_name(host) => Ok(Server::Smtp { host: host.to_owned(), port }),
            _ => Err(EXPECTED),
        }
    }
}

/// How the connection to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// By STARTTLS; where the server has none, no mail is sent.
    Starttls,
    /// From its first byte.
    Implicit,
}

/// The keys of `[mail]`.
pub(super) fn keys() -> Vec<Key<Config>> {
    let modes = [("none", Tls::None), ("starttls", Tls::Starttls), ("implicit", Tls::Implicit)];
    let fits = |text: &str| (1..=SUBJECT_MAX).contains(&text.len()) && !text.contains(char::is_control);
    let subject = text_that(fits, format!("expected a text of 1 to {SUBJECT_MAX} bytes without control characters"));
    let name = text_that(|text| !text.is_empty() && !text.contains(char::is_control), "expected a name");
    vec![
        key("to", mailbox().list().of(0..=TO_MAX, format!("expected at most {TO_MAX} recipients")), |m| &mut m.to)
            .denyhosts("ADMIN_EMAIL")
            .example(r#"["root@localhost", "Night shift <oncall@example.org>"]"#)
            .says(
                "Whom denyd writes to: of the first deny after a quiet time within a minute, of further ones at most once in
                an hour, and at once when somebody logs in from where too many had failed, or when an administrator's session
                keeps an address from being denied. With nobody here no mail is sent. `denyd mail --test` sends one.",
            ),
        key("from", mailbox().optional(), |m| &mut m.from)
            .denyhosts("SMTP_FROM")
            .example(r#""denyd <denyd@web1.example.org>""#)
            .says("Whom it is from. Many servers refuse one without a full domain. Default: denyd at the name of this machine."),
        key("subject", subject.optional(), |m| &mut m.subject)
            .denyhosts("SMTP_SUBJECT")
            .example(r#""DenyHosts Report""#)
            .says("What the subject begins with; what follows are counts. Default: `denyd on` and the name of this machine."),
        key("server", parsed(|expected: &'static str| expected.to_owned()), |m| &mut m.server)
            .denyhosts("SMTP_HOST")
            .says(
                r#"Who takes the mail: "HOST:PORT", or "sendmail" for the program of that name. Under the usual unit a sendmail
                that is setgid, as postfix' is, cannot queue anything: use "localhost:25" there."#,
            ),
        key("tls", words(&modes), |m| &mut m.tls).says(
            r#"How the connection is encrypted: "none", which is for a server on this machine, "starttls", mostly at port 587,
            or "implicit", mostly at port 465. The server's certificate must be valid for the name in `server`."#,
        ),
        key("ca_file", path().optional(), |m| &mut m.ca_file)
            .example(r#""/etc/denyd/mail-ca.pem""#)
            .says("The CAs that may have signed it, in PEM. Default: those of the system."),
        key("username", name.optional(), |m| &mut m.username)
            .denyhosts("SMTP_USERNAME")
            .example(r#""denyd""#)
            .says("Who logs in at the server. Only by TLS, or where the server is on this machine."),
        key("password_file", path().optional(), |m| &mut m.password_file)
            .denyhosts("SMTP_PASSWORD")
            .example(r#""/etc/denyd/mail-password""#)
            .says(
                "A file with the password, and nothing else. It must be the daemon's own user's, and readable by nobody else
                (chmod 0600). It is read whenever mail is sent.",
            ),
        key("first_within", duration(""), |m| &mut m.first_within)
            .says("How soon the first deny after a quiet time is told."),
        key("every", duration(""), |m| &mut m.every)
            .says("The shortest time from one mail about denies to the next. What is denied meanwhile stands in the next."),
    ]
}

/// A key, and where its value is.
fn key<T: 'static>(name: &'static str, codec: Codec<T>, place: fn(&mut Mail) -> &mut T) -> Key<Config> {
    Key::new(name, codec, move |config: &mut Config| Some(place(&mut config.mail)))
}

/// Somebody who has mail.
fn mailbox() -> Codec<Mailbox> {
    let expected = "expected an address such as \"root@localhost\" or \"Night shift <oncall@example.org>\"";
    let parse = |text: &str| match text.contains(char::is_control) {
        false => text.parse::<Mailbox>().map_err(|_| expected.to_owned()),
        true => Err(expected.to_owned()),
    };
    Codec::text(parse, Mailbox::to_string)
}

/// Sees that the keys fit each other.
pub(super) fn judge(reader: &mut Reader<'_>, table: &Table<'_>, mail: &Mail) {
    match (&mail.username, &mail.password_file) {
        (Some(_), None) => reader.missing(table, "password_file", "write which file has the password of `username`"),
        (None, Some(_)) => reader.missing(table, "username", "write whose password that is"),
        (Some(_), Some(_)) if mail.tls == Tls::None && !mail.server.is_here() => {
            reader.wrong(
                table,
                "username",
                "the password would go over the network as it is; write tls = \"starttls\"",
            );
        }
        _ => {}
    }
    if mail.server == Server::Sendmail {
        for (key, is_set) in [("tls", mail.tls != Tls::None), ("username", mail.username.is_some())] {
            if is_set {
                reader.wrong(table, key, "sendmail has its own; leave it away");
            }
        }
    }
}
