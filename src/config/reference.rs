//! What the keys mean, told to administrators: `packaging/denyd.toml` and the manual page denyd.toml(5).
//!
//! Both are written from the descriptions of the keys, with the defaults that hold and examples that were read.

use std::collections::BTreeSet;
use std::path::Path;

use super::key::{Key, Section};
use super::{Config, settings, sources};

/// The longest line that is written, in characters.
const WIDTH: usize = 118;

const FILE: &str =
    "Nothing here has to be set. Each key is shown with its default, behind a `#`: remove the `#` and change
the value. A line that begins with `#` and three spaces is an example.";

const PAGE: &str =
    "denyd reads /etc/denyd/denyd.toml, or what `denyd --config FILE` names. Nothing has to be set. Each key is
shown with its default; an example may stand below what it means.";

const HEAD: &str = r#"Texts, durations and addresses stand in quotes; numbers, true and false do not. Durations have units: s, m, h, d, w, as in "7d" or "1h30m".

`denyd check` says everything that is wrong with this file, by line. `denyd check --print` shows every key as it is in
effect.

The daemon reads it when it starts."#;

const INPUTS: &str = "What is read. With no [[input]] at all denyd finds the logs of this machine itself, and says what
it found. With one or more it reads those and nothing else. The examples show the defaults, too. Every [[input]] may
have these keys:";

/// What is said of each sort of input, and one of them.
const SAMPLES: [(&str, &str); 9] = [
    (
        "A file is followed through rotation, by rename or by truncation. If its own copy takes its place (`sed -i`, rsync,
        log2ram, a log whose oldest lines are dropped), it is read on behind the lines that were read last, up to 64 of
        them, where these stand once in its last GiB; otherwise it is a new file, and all of it is read.",
        r#"{ kind = "file", path = "/var/log/auth.log", name = "auth", host = "web1", timezone = "UTC" }"#,
    ),
    (
        "A file of lines in a format of its own.",
        r#"{ kind = "file", path = "/var/log/odd.log", format_regex = "^[0-9]+ sshd: (?P<message>.*)$" }"#,
    ),
    (
        "The directory of a multilog (daemontools), or of a svlogd with -t, through rotation. multilog must write its
        time stamps: `t` is its first action. Lines that have a syslog header behind the stamp need no identifier.",
        r#"{ kind = "multilog", path = "/var/log/sshd", identifier = "sshd" }"#,
    ),
    (
        "The systemd journal, of this machine, persistent and volatile, of all namespaces (LogNamespace=), over rotation and
        boots; or the journals of a directory. It tells who wrote each record: what root did not write is counted as forged and never as a failure.",
        r#"{ kind = "journald" }"#,
    ),
    ("", r#"{ kind = "journald", directory = "/var/log/journal/remote" }"#),
    (
        "A syslog listener, over UDP.",
        r#"{ kind = "syslog", listen = "udp://0.0.0.0:514", from = ["192.0.2.0/24", "2001:db8::/64"] }"#,
    ),
    (
        "Over TCP. The limits are the defaults; whoever sends more than max_rate waits.",
        r#"{ kind = "syslog", listen = "tcp://192.0.2.1:514", from = ["192.0.2.0/24"] }"#,
    ),
    (
        "Over TLS (RFC 5425): all that TCP has, and certificates. A handshake has 10 s. New files are read on SIGHUP, or
        within a minute when somebody connects; if they are wrong, the old ones stay in use.",
        r#"{ kind = "syslog", listen = "tls://0.0.0.0:6514", certificate = "/etc/denyd/server.pem",
             key = "/etc/denyd/server.key", client_ca = "/etc/denyd/ca.pem",
             permitted = ["web1.example.org", "*.db.example.org"] }"#,
    ),
    (
        "Over a unix socket, here for datagrams. One for a stream has the limits and the framing of TCP, too.",
        r#"{ kind = "syslog", listen = "unix-datagram:///run/denyd/log", trusted_user = "root" }"#,
    ),
];

/// One thing that is told.
pub(super) enum Piece {
    Text(&'static str),
    /// What is told from here on is of tables that the file may have several of.
    Tables(&'static str),
    Table(&'static str),
    /// A key: its name, what it means, an example, and its default.
    Key(&'static str, String, Option<&'static str>, Option<String>),
    /// A key of an input, which examples show.
    InputKey(&'static str, String),
    Example(String),
}

/// What is told of a table.
pub(super) fn table<S>(section: &Section<S>, defaults: &mut S) -> Vec<Piece> {
    let keys = section.keys.iter().map(|key| Piece::Key(key.name, doc(key), key.example, (key.show)(defaults)));
    Some(Piece::Table(section.name)).filter(|_| !section.name.is_empty()).into_iter().chain(keys).collect()
}

/// All that is told, behind how to read it.
fn pieces(head: &'static str) -> Vec<Piece> {
    let mut pieces = vec![Piece::Text(head), Piece::Text(HEAD)];
    pieces.extend(settings::sections().iter().flat_map(|section| table(section, &mut Config::default())));
    pieces.extend([Piece::Tables("[[input]]"), Piece::Text(INPUTS)]);
    pieces.extend(sources::common().iter().map(|key| Piece::InputKey(key.name, doc(key))));
    let mut told: BTreeSet<&str> = sources::common().iter().map(|key| key.name).collect();
    let section = sources::section();
    for (text, sample) in SAMPLES {
        let sample = Config::parse(Path::new("sample"), &format!("input = [{sample}]")).expect("a right sample");
        let mut input = sample.inputs[0].clone();
        pieces.push(Piece::Text(text));
        let keys = section.keys.iter().filter(|key| (key.has_meaning)(&mut input) && told.insert(key.name));
        pieces.extend(keys.map(|key| Piece::InputKey(key.name, doc(key))).collect::<Vec<_>>());
        pieces.push(Piece::Example(sources::write(&input)));
    }
    pieces
}

/// What a key means, and what DenyHosts called it.
fn doc<S>(key: &Key<S>) -> String {
    let denyhosts = key.denyhosts.map(|name| format!(" In DenyHosts: {name}.")).unwrap_or_default();
    key.doc.to_owned() + &denyhosts
}

/// The text of `packaging/denyd.toml`.
pub fn packaged() -> String {
    "# The configuration of denyd: /etc/denyd/denyd.toml\n".to_owned() + &toml(pieces(FILE))
}

/// The pieces as comments of a TOML file.
pub(super) fn toml(pieces: Vec<Piece>) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            // A header would be such a table.
            Piece::Text("") | Piece::Tables(_) => {}
            Piece::Text(text) => {
                // What follows a key is of something else; all others are parts of one comment.
                out += if out.lines().last().is_some_and(|line| !line.starts_with("# ")) { "\n" } else { "#\n" };
                let texts: Vec<String> = paragraphs(text).iter().map(|text| wrapped(text, "# ", "# ")).collect();
                out += &texts.join("#\n");
            }
            Piece::Table(name) => out += &format!("\n{name}\n"),
            Piece::Key(name, doc, example, default) => {
                let is_first = out.lines().last().is_some_and(|line| line.starts_with('['));
                out += if doc.is_empty() || is_first { "" } else { "\n" };
                out += &paragraphs(&doc).iter().map(|text| wrapped(text, "# ", "# ")).collect::<String>();
                out += &example.map(|value| format!("#   {name} = {value}\n")).unwrap_or_default();
                out += &default.map(|value| format!("#{name} = {value}\n")).unwrap_or_default();
            }
            Piece::InputKey(name, doc) => out += &wrapped(&doc, &format!("# {name}: "), "#  "),
            Piece::Example(text) => {
                out += "#\n";
                out.extend(text.lines().map(|line| format!("#   {line}\n")));
            }
        }
    }
    out
}

/// The manual page denyd.toml(5).
pub fn manual() -> String {
    ".TH DENYD.TOML 5 \"\" denyd \"File formats\"\n.SH NAME\ndenyd.toml \\- the configuration of denyd\n\
     .SH DESCRIPTION\n"
        .to_owned()
        + &roff(pieces(PAGE))
}

/// The pieces as parts of a manual page.
pub(super) fn roff(pieces: Vec<Piece>) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend(paragraphs(text).iter().map(|text| format!(".PP\n{}", plain(text)))),
            Piece::Table(name) | Piece::Tables(name) => out += &format!(".SH {name}\n"),
            Piece::Key(name, doc, example, default) => {
                let default = default.map(|value| format!(" = {value}")).unwrap_or_default();
                out += &format!(".TP\n\\fB{}\\fR\n", plain(&(name.to_owned() + &default)).trim_end());
                out += &paragraphs(&doc).iter().map(|text| plain(text)).collect::<Vec<_>>().join(".br\n");
                out +=
                    &example.map(|value| format!(".br\n{}", plain(&format!("{name} = {value}")))).unwrap_or_default();
            }
            Piece::InputKey(name, doc) => out += &format!(".TP\n\\fB{name}\\fR\n{}", plain(&doc)),
            Piece::Example(text) => out += &format!(".PP\n.nf\n{}.fi\n", text.lines().map(plain).collect::<String>()),
        }
    }
    out
}

/// The paragraphs of a text, each in one line.
fn paragraphs(text: &str) -> Vec<String> {
    let paragraphs = text.split("\n\n").filter(|text| !text.is_empty());
    paragraphs.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// A text in lines that are not too long, the first behind `first`, the others behind `rest`.
fn wrapped(text: &str, first: &str, rest: &str) -> String {
    let (mut out, mut line) = (String::new(), first.to_owned());
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 && line.chars().count() + word.chars().count() >= WIDTH {
            out += &(line + "\n");
            line = rest.to_owned();
        } else if index > 0 {
            line.push(' ');
        }
        line += word;
    }
    out + line.trim_end() + "\n"
}

/// Lines as roff takes them for text.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for line in wrapped(text, "", "").lines() {
        out += if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        for c in line.chars() {
            match c {
                '\\' => out += "\\e",
                '-' => out += "\\-",
                c if c.is_ascii() => out.push(c),
                c => out += &format!("\\[u{:04X}]", u32::from(c)),
            }
        }
        out.push('\n');
    }
    out
}
