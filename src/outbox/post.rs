//! Hands a mail to a server, or to `sendmail`, and says what came of it. It blocks: whoever calls it has a thread for that.

use std::fs::File;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, SmtpTransportBuilder};
use lettre::{Address, Message, SmtpTransport, Transport as _};

use super::limited::{ANSWER_MAX, Relay};
use crate::clock;
use crate::config::Mail;
use crate::config::mail::{Server, Tls as Encrypted};
use crate::deny::program;
use crate::text::printable;

/// Who it is from, where nobody is configured.
const NAME: &str = "denyd";
/// How long `sendmail` may take in all.
const SENDMAIL_MAX: Duration = Duration::from_secs(60);
/// Characters of an answer that are kept.
const SAID_MAX: usize = 300;
/// The largest file of a password or of CAs that is read, in bytes.
const FILE_MAX: u64 = 1024 * 1024;
/// With these `sendmail` says that it will not take a mail later either: data error, unavailable (a server's 5xx), not
/// permitted (sysexits.h).
const FOR_GOOD: [i32; 3] = [65, 69, 77];

/// A mail before it has its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// What its subject says behind what is configured.
    pub subject: String,
    /// Its text: lines that end in `\n`.
    pub body: String,
    /// What is before the `@` of its Message-ID: the same for the same text, so that a mail that goes twice is known as one.
    pub id: String,
}

/// Why a mail was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In words, with the server's answer, for reading.
    pub why: String,
    /// Whether the server says that it will not take it later either.
    pub for_good: bool,
}

impl Refused {
    pub(super) fn now(why: impl Into<String>) -> Self {
        Refused { why: why.into(), for_good: false }
    }
}

/// Sends a letter to all; returns the server's answer, for reading. Where it refuses one of several recipients, the others
/// have the mail, and the answer says who has not.
pub fn send(mail: &Mail, letter: &Letter) -> Result<String, Refused> {
    let message = written(mail, letter)?;
    let (envelope, bytes) = (message.envelope().clone(), message.formatted());
    let Server::Smtp { host, port } = &mail.server else {
        let path = sendmail().ok_or_else(|| Refused::now("no program sendmail is installed; name a server instead"))?;
        return by_sendmail(&path, &envelope, &bytes);
    };
    let smtp = smtp(mail, host)?;
    let post = |envelope: &Envelope| {
        let relay = Relay::start(host, *port).map_err(|error| (false, Refused::now(said(&error.to_string()))))?;
        let sent = smtp.clone().port(relay.port).build().send_raw(envelope, &bytes);
        let limit = relay.end();
        let answer = sent.map(|answer| format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" ")));
        let is_of_mail = |error: &Error| error.status().is_some() && !is_of_login(error);
        answer.map(|answer| said(&answer)).map_err(|error| match limit {
            Some(limit) if error.status().is_none() => (false, Refused::now(limit)),
            _ => (is_of_mail(&error), refused(&error)),
        })
    };
    let (is_of_mail, refused) = match post(&envelope) {
        Ok(answer) => return Ok(answer),
        Err(refused) => refused,
    };
    if !is_of_mail || envelope.to().len() < 2 {
        return Err(refused);
    }
    each(&envelope, |envelope| post(envelope).map_err(|(_, refused)| refused))
}

/// Sends to one after the other; an error if nobody has it.
fn each(envelope: &Envelope, post: impl Fn(&Envelope) -> Result<String, Refused>) -> Result<String, Refused> {
    let (mut taken, mut not) = (None, Vec::new());
    for to in envelope.to() {
        let one = Envelope::new(envelope.from().cloned(), vec![to.clone()])
            .map_err(|error| Refused::now(error.to_string()))?;
        match post(&one) {
            Ok(answer) => taken = Some(answer),
            Err(refused) => not.push((to, refused)),
        }
    }
    let named = |(to, refused): &(&Address, Refused)| format!("{to} has it not: {}", refused.why);
    let names: Vec<_> = not.iter().map(named).collect();
    match taken {
        Some(answer) => Ok(said(&std::iter::once(answer).chain(names).collect::<Vec<_>>().join("; "))),
        None => {
            Err(Refused { why: said(&names.join("; ")), for_good: not.iter().all(|(_, refused)| refused.for_good) })
        }
    }
}

/// Whom mail is from.
pub fn from(mail: &Mail) -> Result<Mailbox, String> {
    let host = clock::host_name();
    let usual = || Address::new(NAME, &host).map(|address| Mailbox::new(None, address));
    let of_host = |_| format!("no mail can be from {NAME}@{host}: write `from` into [mail]");
    mail.from.clone().map_or_else(usual, Ok).map_err(of_host)
}

/// The letter with its headers.
fn written(mail: &Mail, letter: &Letter) -> Result<Message, Refused> {
    let from = from(mail).map_err(Refused::now)?;
    let start = mail.subject.clone().unwrap_or_else(|| format!("denyd on {}", clock::host_name()));
    let id = format!("<{}@{}>", letter.id, from.email.domain());
    let auto = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut message = Message::builder()
        .from(from)
        .subject(format!("{start}: {}", letter.subject))
        .message_id(Some(id))
        .raw_header(HeaderValue::new(auto, "auto-generated".to_owned()))
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        message = message.to(to.clone());
    }
    message.body(letter.body.clone()).map_err(|error| Refused::now(error.to_string()))
}

/// The way to the server `host`, by a [`Relay`] whose port is not known yet.
fn smtp(mail: &Mail, host: &str) -> Result<SmtpTransportBuilder, Refused> {
    let parameters = || parameters(mail, host).map_err(Refused::now);
    let tls = match mail.tls {
        Encrypted::None => Tls::None,
        Encrypted::Starttls => Tls::Required(parameters()?),
        Encrypted::Implicit => Tls::Wrapper(parameters()?),
    };
    let mut smtp = SmtpTransport::builder_dangerous(Ipv4Addr::LOCALHOST.to_string())
        .tls(tls)
        .timeout(Some(ANSWER_MAX))
        .hello_name(ClientId::Domain(clock::host_name()));
    if let (Some(name), Some(file)) = (&mail.username, &mail.password_file) {
        smtp = smtp.credentials(Credentials::new(name.clone(), password(file).map_err(Refused::now)?));
    }
    Ok(smtp)
}

fn parameters(mail: &Mail, host: &str) -> Result<TlsParameters, String> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(file) = &mail.ca_file {
        let bytes = contents(file)?;
        // All of them are one to lettre, and none at all is one, too.
        let is_pem = memchr::memmem::find(&bytes, b"BEGIN CERTIFICATE").is_some();
        let cas = Certificate::from_pem(&bytes).ok().filter(|_| is_pem);
        let cas = cas.ok_or_else(|| format!("{} holds no certificates in PEM", file.display()))?;
        parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(cas);
    }
    parameters.build_rustls().map_err(|error| error.to_string())
}

/// The password in a file that nobody but its owner may read.
pub fn password(file: &Path) -> Result<String, String> {
    secret(file)
}

/// The one line of a file that nobody but its owner may read.
pub(super) fn secret(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let mode = std::fs::metadata(file).map_err(|error| format!("cannot read {shown}: {error}"))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("{shown} has mode {mode:04o}, so others may read the secret in it: chmod 0600 {shown}"));
    }
    let text = String::from_utf8(contents(file)?).map_err(|_| format!("{shown} is no text in UTF-8"))?;
    let text = text.trim_end_matches(['\n', '\r']);
    match text.is_empty() || text.contains(char::is_control) {
        true => Err(format!("{shown} is to hold a secret, in one line, and nothing else")),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn contents(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// Where the program is that takes mail.
pub fn sendmail() -> Option<PathBuf> {
    program::find("sendmail").or_else(|| Some(PathBuf::from("/usr/lib/sendmail")).filter(|path| path.is_file()))
}

fn by_sendmail(path: &Path, envelope: &Envelope, bytes: &[u8]) -> Result<String, Refused> {
    let from = envelope.from().map(Address::to_string).unwrap_or_default();
    let to: Vec<_> = envelope.to().iter().map(Address::to_string).collect();
    let arguments = ["-i", "-f", &from, "--"].into_iter().chain(to.iter().map(String::as_str)).collect::<Vec<_>>();
    let run = |child| program::finish_within(SENDMAIL_MAX, child, bytes);
    let ended = program::start(path, &arguments).and_then(run);
    let output = ended.map_err(|error| Refused::now(format!("{}: {error}", path.display())))?;
    let complaint = said(&String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(format!("{} took it", path.display())),
        false => Err(Refused {
            why: format!("{} ended with {}: {complaint}", path.display(), output.status),
            for_good: output.status.code().is_some_and(|code| FOR_GOOD.contains(&code)),
        }),
    }
}

/// Why a server did not take a mail, with what to do where that is known.
fn refused(error: &Error) -> Refused {
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !causes.iter().any(|known| known.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    Refused { why: said(&causes.join(": ")), for_good: error.is_permanent() && !is_of_login(error) }
}

/// Whether the server wants another login, or one at all (530, 534, 535, 538; RFC 4954): that is no word about the mail.
fn is_of_login(error: &Error) -> bool {
    error.status().is_some_and(|code| code.to_string().starts_with("53"))
}

/// What a person may do where a mail was not taken because of this.
pub fn remedy(mail: &Mail, why: &str) -> &'static str {
    let has = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
    match &mail.server {
        Server::Sendmail => {
            "a sendmail that is setgid cannot queue anything under NoNewPrivileges; let `server` be \"localhost:25\""
        }
        _ if has(&["Connection refused"]) => {
            "nobody listens there: start the mail server, or name another one as `server`"
        }
        _ if has(&["password", "mode 0"]) => "see to `password_file`",
        _ if has(&["certificate", "Certificate"]) => {
            "the name in `server` must be in the certificate, and its CA in `ca_file`, or among the system's"
        }
        _ if has(&["STARTTLS"]) => "the server has no STARTTLS at that port: try tls = \"implicit\" at port 465",
        _ if has(&["(535)", "(530)", "authentication"]) => "see to `username` and `password_file`",
        _ if has(&["lookup", "Name or service"]) => "no server has that name: see to `server`",
        _ => "it is what the server says; `denyd mail --test` tries again",
    }
}

/// Foreign text for reading, cut.
pub(super) fn said(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    printable(line.as_bytes()).chars().take(SAID_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mail() -> Mail {
        let to = ["root@localhost", "Zoë <zoe@example.org>"].map(|to| to.parse().unwrap()).to_vec();
        let from = Some("Dénÿd <denyd@web1.example.org>".parse().unwrap());
        Mail { to, from, subject: Some("Größe".to_owned()), server: Server::Sendmail, ..Mail::default() }
    }

    fn letter() -> Letter {
        let body = format!("one\n.\n{}\n", "x".repeat(2000));
        Letter { subject: "1 host denied".to_owned(), body, id: "denyd.1.2.3".to_owned() }
    }

    #[test]
    fn headers_are_ascii_and_lines_are_short() {
        let text = String::from_utf8(written(&mail(), &letter()).unwrap().formatted()).unwrap();
        assert!(text.is_ascii() && text.lines().all(|line| line.len() < 998), "{text}");
        for header in [
            "Subject: =?utf-8?b?",
            "From: =?utf-8?b?",
            "Message-ID: <denyd.1.2.3@web1.example.org>\r\n",
            "MIME-Version: 1.0\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Auto-Submitted: auto-generated\r\n",
        ] {
            assert!(text.contains(header), "{header}: {text}");
        }
    }

    #[test]
    fn sendmail_is_given_all_without_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("sendmail");
        let check = |script: &str, want: Result<String, &str>| {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let message = written(&mail(), &letter()).unwrap();
            let told = by_sendmail(&program, message.envelope(), &message.formatted());
            match (told, want) {
                (Ok(told), Ok(want)) => assert_eq!(told, want),
                (Err(refused), Err(want)) => {
                    assert!(refused.why.contains(want), "{}", refused.why);
                    assert_eq!(refused.for_good, want.contains("69"), "{}", refused.why);
                }
                (told, want) => panic!("{told:?} {want:?}"),
            }
        };
        let out = dir.path().join("out");
        let took = format!("{} took it", program.display());
        check(&format!("{{ echo \"$*\"; cat; }} >{}", out.display()), Ok(took));
        let text = std::fs::read_to_string(out).unwrap();
        assert!(text.starts_with("-i -f denyd@web1.example.org -- root@localhost zoe@example.org\n"), "{text}");
        assert!(text.contains("Subject: ") && text.lines().any(|line| line == "."), "{text}");
        check("cat >/dev/null; echo 'no \x1b[31m room' >&2; exit 75", Err("ended with exit status: 75: no"));
        check("exit 69", Err("ended with exit status: 69"));
        check("exit 1", Err("ended with exit status: 1"));
        assert!(by_sendmail(Path::new("/no/such"), written(&mail(), &letter()).unwrap().envelope(), b"").is_err());
    }

    #[test]
    fn an_answer_is_one_short_line_without_escapes() {
        assert_eq!(said("550 no\r\n \x1b[31m such\tone é"), "550 no \\x1b[31m such one \\xc3\\xa9");
        assert_eq!(said(&"x".repeat(1000)).len(), SAID_MAX);
    }
}
