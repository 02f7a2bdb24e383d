//! The inputs: what is read, and what a reader must know of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inputs::journald::follow::Reader;
use inputs::syslog::frame::Framing;
use inputs::syslog::listen::{self, Identity};
use inputs::syslog::parse::{Format, Parser};
use jiff::tz::TimeZone;

use super::table::{Reader as TableReader, Table};
use super::{tls, values};
use crate::decide::prefix::Prefix;

/// A log that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Names it in output and beside its cursor. Default: the path or the listener's address.
    pub name: String,
    /// The origin host of all its records, instead of what they claim. Lower case, the first label.
    pub host: Option<String>,
    /// The zone of stamps that name none; `None` = the machine's.
    pub timezone: Option<TimeZone>,
    /// Where its records come from.
    pub source: Source,
}

/// Where the records of an input come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A plain file, followed.
    File(File),
    /// The systemd journal, followed.
    Journald(Journald),
    /// The directory of a multilog, followed.
    Multilog(Multilog),
    /// A socket that we listen on.
    Syslog(Syslog),
}

/// A plain file, followed through rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its absolute path.
    pub path: PathBuf,
    /// How its lines are written.
    pub format: Format,
    /// Where reading begins the first time.
    pub first_read: FirstRead,
    /// The program whose own output it is; `None` = its lines name their programs.
    pub identifier: Option<&'static str>,
}

/// The directory of a multilog, or of a svlogd with `-t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multilog {
    /// Its absolute path; the one that holds `current`.
    pub path: PathBuf,
    /// Where reading begins the first time.
    pub first_read: FirstRead,
    /// The program whose own output it is; `None` = its lines name their programs.
    pub identifier: Option<&'static str>,
}

/// The systemd journal, of this machine or in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journald {
    /// A directory of journals; `None` = this machine's.
    pub directory: Option<PathBuf>,
    /// Which program reads.
    pub reader: Reader,
    /// Where reading begins the first time.
    pub first_read: FirstEntry,
}

/// Where the first start of a journal begins; later starts go on at the cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstEntry {
    /// At its end: what is written from now on.
    #[default]
    Now,
    /// At its first entry.
    Beginning,
    /// So long before now.
    Back(Duration),
}

/// Where the first start of a file begins; later starts go on at the cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstRead {
    /// At its end: what is written from now on.
    #[default]
    Now,
    /// At its first line; a multilog's is in its oldest file.
    Beginning,
}

/// A syslog listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// The socket.
    pub listen: Listen,
    /// Who may send; empty = anybody, which only loopback, unix sockets and TLS with client certificates can be.
    pub from: Vec<Prefix>,
    /// The network does not let spoofed UDP source addresses through.
    pub trust_network: bool,
    /// A header inside the message replaces the outer one.
    pub unwrap_imfile: bool,
    /// Connections at a time.
    pub max_connections: u32,
    /// Connections of one sender at a time.
    pub max_per_sender: u32,
    /// Messages of one sender in a second.
    pub max_rate: u32,
    /// A connection that sends nothing for so long is closed.
    pub idle_timeout: Duration,
    /// The permissions of a unix socket.
    pub socket_mode: u32,
    /// How the frames of a stream are told apart.
    pub framing: Framing,
}

/// The socket of a syslog listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `udp://192.0.2.1:514`
    Udp(SocketAddr),
    /// `tcp://192.0.2.1:514`
    Tcp(SocketAddr),
    /// `tls://192.0.2.1:6514`
    Tls(SocketAddr, Box<Identity>),
    /// `unix:///run/denyd/log`: a stream.
    UnixStream(PathBuf),
    /// `unix-datagram:///run/denyd/log`
    UnixDatagram(PathBuf),
}

impl Input {
    /// A file, with the defaults.
    pub fn file(path: PathBuf) -> Self {
        let file = File { path, format: Format::Auto, first_read: FirstRead::Now, identifier: None };
        Input { name: file.path.display().to_string(), host: None, timezone: None, source: Source::File(file) }
    }

    /// This machine's journal, with the defaults.
    pub fn journald() -> Self {
        let source = Source::Journald(Journald::default());
        Input { name: source.name(), host: None, timezone: None, source }
    }

    /// Its kind, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self.source {
            Source::File(_) => "file",
            Source::Journald(_) => "journald",
            Source::Multilog(_) => "multilog",
            Source::Syslog(_) => "syslog",
        }
    }

    /// Whether it has certificates, which can be read again.
    pub fn has_certificates(&self) -> bool {
        matches!(&self.source, Source::Syslog(Syslog { listen: Listen::Tls(..), .. }))
    }

    /// How its lines are written.
    pub fn format(&self) -> Format {
        match &self.source {
            Source::File(file) => file.format,
            Source::Journald(_) => Format::Auto, // its entries have no lines
            Source::Multilog(_) => Format::Multilog,
            Source::Syslog(_) => Format::Syslog,
        }
    }

    /// What makes records of its lines.
    pub fn parser(&self) -> Parser {
        let mut parser = Parser::new(self.format(), self.timezone.clone().unwrap_or_else(TimeZone::system));
        parser.unwrap(self.unwraps());
        parser.bare(self.bare());
        parser
    }

    /// Whether a header inside the message replaces the outer one.
    pub fn unwraps(&self) -> bool {
        matches!(&self.source, Source::Syslog(syslog) if syslog.unwrap_imfile)
    }

    /// The program whose own output it is, if its lines have no header.
    pub fn bare(&self) -> Option<&'static str> {
        match &self.source {
            Source::File(File { format: Format::Message, identifier: None, .. }) => Some("sshd"),
            Source::File(File { identifier, .. }) | Source::Multilog(Multilog { identifier, .. }) => *identifier,
            Source::Journald(_) | Source::Syslog(_) => None,
        }
    }

    /// Whether strangers may be able to make up its records: UDP from a network that lets false addresses through,
    /// and sshd's own output (`-e`, `-E`), in which it does not escape the newlines of a user's name. A multilog may
    /// hold that whatever the configuration says: without `identifier` only the strangers' lines would look like sshd's.
    pub fn is_forgeable(&self) -> bool {
        match &self.source {
            Source::Syslog(Syslog { listen: Listen::Udp(address), trust_network, .. }) => {
                !trust_network && !address.ip().is_loopback()
            }
            Source::Multilog(_) => true,
            _ => self.bare().is_some(),
        }
    }
}

impl Syslog {
    /// Its socket, as the listener takes it.
    pub fn endpoint(&self) -> listen::Listen {
        match &self.listen {
            Listen::Udp(address) => listen::Listen::Udp(*address),
            Listen::Tcp(address) => listen::Listen::Tcp(*address),
            Listen::Tls(address, identity) => listen::Listen::Tls(*address, identity.clone()),
            Listen::UnixStream(path) => listen::Listen::UnixStream(path.clone()),
            Listen::UnixDatagram(path) => listen::Listen::UnixDatagram(path.clone()),
        }
    }

    /// Its limits, as the listener takes them.
    pub fn options(&self) -> listen::Options {
        listen::Options {
            from: self.from.iter().map(|prefix| (prefix.address(), prefix.bits())).collect(),
            max_connections: self.max_connections as usize,
            max_per_sender: self.max_per_sender as usize,
            max_rate: self.max_rate,
            idle: self.idle_timeout,
            mode: self.socket_mode,
            framing: self.framing,
            ..listen::Options::default()
        }
    }

    /// A listener with the default limits.
    pub fn new(listen: Listen) -> Self {
        Syslog {
            listen,
            from: Vec::new(),
            trust_network: false,
            unwrap_imfile: false,
            max_connections: 256,
            max_per_sender: 32,
            max_rate: listen::RATE_MAX,
            idle_timeout: Duration::from_secs(600),
            socket_mode: 0o660,
            framing: Framing::Auto,
        }
    }
}

impl Listen {
    /// The address of an internet socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Listen::Udp(address) | Listen::Tcp(address) | Listen::Tls(address, _) => Some(*address),
            Listen::UnixStream(_) | Listen::UnixDatagram(_) => None,
        }
    }

    /// The path of a unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Listen::UnixStream(path) | Listen::UnixDatagram(path) => Some(path),
            Listen::Udp(_) | Listen::Tcp(_) | Listen::Tls(..) => None,
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        self.address().is_none_or(|address| address.ip().to_canonical().is_loopback())
    }

    /// Whether it has connections.
    pub fn is_stream(&self) -> bool {
        matches!(self, Listen::Tcp(_) | Listen::Tls(..) | Listen::UnixStream(_))
    }

    /// Who its certificates say we are, and whom it lets in.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Listen::Tls(_, identity) => Some(identity),
            _ => None,
        }
    }

    /// Whether both need the same socket.
    fn collides(&self, other: &Listen) -> bool {
        let udp = |listen: &Listen| matches!(listen, Listen::Udp(_));
        match (self.address(), other.address()) {
            (Some(one), Some(two)) => one == two && udp(self) == udp(other),
            _ => self.path().is_some() && self.path() == other.path(),
        }
    }
}

/// As in the configuration.
impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Udp(address) => write!(f, "udp://{address}"),
            Listen::Tcp(address) => write!(f, "tcp://{address}"),
            Listen::Tls(address, _) => write!(f, "tls://{address}"),
            Listen::UnixStream(path) => write!(f, "unix://{}", path.display()),
            Listen::UnixDatagram(path) => write!(f, "unix-datagram://{}", path.display()),
        }
    }
}

impl Source {
    /// The name of an input that was given none.
    pub fn name(&self) -> String {
        match self {
            Source::File(file) => file.path.display().to_string(),
            Source::Journald(journald) => match &journald.directory {
                Some(directory) => directory.display().to_string(),
                None => "journald".to_owned(),
            },
            Source::Multilog(multilog) => multilog.path.display().to_string(),
            Source::Syslog(syslog) => syslog.listen.to_string(),
        }
    }
}

const JOURNALD_KEYS: [&str; 2] = ["directory", "reader"];
const FILE_KEYS: [&str; 4] = ["path", "format", "first_read", "identifier"];
const STREAM_KEYS: [&str; 4] = ["max_connections", "max_per_sender", "idle_timeout", "framing"];
const SYSLOG_KEYS: [&str; 14] = [
    "listen",
    "from",
    "trust_network",
    "unwrap_imfile",
    "max_connections",
    "max_per_sender",
    "max_rate",
    "idle_timeout",
    "framing",
    "certificate",
    "key",
    "client_ca",
    "permitted",
    "socket_mode",
];

/// Reads all inputs, without those that cannot be; `control_socket` is taken already.
pub(super) fn read<'a>(reader: &mut TableReader<'a>, top: &Table<'a>, control_socket: &Path) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for table in reader.tables(top, "input", "[[input]]") {
        let Some(input) = read_one(reader, &table) else { continue };
        if let Source::Syslog(Syslog { listen, .. }) = &input.source
            && listen.path() == Some(control_socket)
        {
            reader.wrong(&table, "listen", "this path is the control socket; choose another".to_owned());
        }
        let clash = inputs.iter().find_map(|other| clash(other, &input));
        match clash {
            Some((key, what)) if table.has(key) => reader.wrong(&table, key, what),
            // The name was derived, and another input was given it.
            Some((_, what)) => reader.missing(&table, "name", &what),
            None => inputs.push(input),
        }
    }
    inputs
}

/// What two inputs may not have in common, if they have.
fn clash(other: &Input, input: &Input) -> Option<(&'static str, String)> {
    match (&other.source, &input.source) {
        (Source::File(other), Source::File(file)) if other.path == file.path => {
            return Some(("path", "another input reads this file; its records would count twice".to_owned()));
        }
        (Source::Journald(other), Source::Journald(journald)) if other.directory == journald.directory => {
            return Some(("kind", "another input reads this journal; its records would count twice".to_owned()));
        }
        (Source::Multilog(other), Source::Multilog(multilog)) if other.path == multilog.path => {
            return Some(("path", "another input reads this directory; its records would count twice".to_owned()));
        }
        (Source::Multilog(Multilog { path, .. }), Source::File(file))
        | (Source::File(file), Source::Multilog(Multilog { path, .. }))
            if file.path.parent() == Some(path) =>
        {
            let what = format!("another input reads files in {}; its records would count twice", path.display());
            return Some(("path", what));
        }
        (Source::Syslog(other), Source::Syslog(syslog)) if other.listen.collides(&syslog.listen) => {
            return Some(("listen", "another input listens there".to_owned()));
        }
        _ => {}
    }
    let same = other.name == input.name;
    same.then(|| ("name", format!("another input has the name {:?}; names must differ", input.name)))
}

fn read_one<'a>(reader: &mut TableReader<'a>, table: &Table<'a>) -> Option<Input> {
    let name = reader.optional(table, "name", values::name);
    let host = reader.optional(table, "host", values::host);
    let timezone = reader.optional(table, "timezone", values::timezone);
    let kinds = "write kind = \"file\", kind = \"multilog\", kind = \"journald\" or kind = \"syslog\"";
    if !table.has("kind") {
        reader.missing(table, "kind", kinds);
        return None;
    }
    let source = match reader.optional(table, "kind", values::text)? {
        "file" => {
            reader.unsuited(table, &SYSLOG_KEYS, "for kind = \"file\"");
            reader.unsuited(table, &JOURNALD_KEYS, "for kind = \"file\"");
            Source::File(file(reader, table)?)
        }
        "syslog" => {
            reader.unsuited(table, &FILE_KEYS, "for kind = \"syslog\"");
            reader.unsuited(table, &JOURNALD_KEYS, "for kind = \"syslog\"");
            Source::Syslog(syslog(reader, table)?)
        }
        "journald" => {
            reader.unsuited(table, &SYSLOG_KEYS, "for kind = \"journald\"");
            reader.unsuited(
                table,
                &["path", "format", "identifier"],
                "for kind = \"journald\": directory names other journals",
            );
            Source::Journald(journald(reader, table))
        }
        "multilog" => {
            reader.unsuited(table, &SYSLOG_KEYS, "for kind = \"multilog\"");
            reader.unsuited(table, &JOURNALD_KEYS, "for kind = \"multilog\"");
            reader.unsuited(table, &["format"], "for kind = \"multilog\", whose lines begin with its labels");
            Source::Multilog(multilog(reader, table)?)
        }
        "metalog" => {
            let expected = "metalog writes files; write kind = \"file\" and format = \"metalog\", \
                            and name the file, such as path = \"/var/log/sshd/current\"";
            reader.wrong(table, "kind", expected.to_owned());
            return None;
        }
        _ => {
            reader.wrong(table, "kind", format!("no such kind of input; {kinds}"));
            return None;
        }
    };
    Some(Input { name: name.unwrap_or_else(|| source.name()), host, timezone, source })
}

fn file<'a>(reader: &mut TableReader<'a>, table: &Table<'a>) -> Option<File> {
    if !table.has("path") {
        reader.missing(table, "path", "write the file's path, such as path = \"/var/log/auth.log\"");
    }
    let path = reader.optional(table, "path", values::path);
    let format = reader.value(table, "format", Format::default(), values::format);
    let first_read = reader.value(table, "first_read", FirstRead::default(), values::first_read);
    let identifier = reader.optional(table, "identifier", values::identifier);
    if matches!(format, Format::Syslog | Format::Metalog) {
        reader.unsuited(table, &["identifier"], "for lines that name their programs, as this format's do");
    }
    let path = path?;
    if format == Format::Multilog && path.ends_with("current") {
        let directory = path.parent().unwrap_or(&path).display();
        reader.wrong(
            table,
            "path",
            format!("a live multilog is followed by its directory; write kind = \"multilog\" and path = \"{directory}\", without format"),
        );
    }
    Some(File { path, format, first_read, identifier })
}

fn multilog<'a>(reader: &mut TableReader<'a>, table: &Table<'a>) -> Option<Multilog> {
    if !table.has("path") {
        reader.missing(table, "path", "write the directory that multilog writes, such as path = \"/var/log/sshd\"");
    }
    let path = reader.optional(table, "path", values::path);
    let first_read = reader.value(table, "first_read", FirstRead::default(), values::first_read);
    let identifier = reader.optional(table, "identifier", values::identifier);
    let path = path?;
    if path.ends_with("current") {
        let directory = path.parent().unwrap_or(&path).display();
        reader.wrong(
            table,
            "path",
            format!("expected the directory that multilog writes, not a file in it: path = \"{directory}\""),
        );
    }
    Some(Multilog { path, first_read, identifier })
}

fn journald<'a>(reader: &mut TableReader<'a>, table: &Table<'a>) -> Journald {
    let default = Journald::default();
    Journald {
        directory: reader.optional(table, "directory", values::path),
        reader: reader.value(table, "reader", default.reader, values::reader),
        first_read: reader.value(table, "first_read", default.first_read, values::first_entry),
    }
}

fn syslog<'a>(reader: &mut TableReader<'a>, table: &Table<'a>) -> Option<Syslog> {
    if !table.has("listen") {
        reader.missing(table, "listen", "write where to listen, such as listen = \"udp://127.0.0.1:514\"");
    }
    let mut listen = reader.optional(table, "listen", values::listen);
    // A listener that is wrong has no limits of its own to be wrong, but its other keys are still read.
    let known = match &mut listen {
        Some(Listen::Tls(_, identity)) => tls::identity(reader, table).map(|given| **identity = given).is_some(),
        Some(_) => {
            reader.unsuited(table, &tls::KEYS, "except for TLS, listen = \"tls://ADDRESS:PORT\"");
            true
        }
        None => false,
    };
    let default = Syslog::new(listen.unwrap_or(Listen::UnixStream(PathBuf::new())));
    let syslog = Syslog {
        trust_network: reader.value(table, "trust_network", default.trust_network, values::yes),
        unwrap_imfile: reader.value(table, "unwrap_imfile", default.unwrap_imfile, values::yes),
        max_connections: reader.value(table, "max_connections", default.max_connections, values::connections),
        max_per_sender: reader.value(table, "max_per_sender", default.max_per_sender, values::connections),
        max_rate: reader.value(table, "max_rate", default.max_rate, values::rate),
        idle_timeout: reader.value(table, "idle_timeout", default.idle_timeout, values::duration),
        framing: reader.value(table, "framing", default.framing, values::framing),
        socket_mode: reader.value(table, "socket_mode", default.socket_mode, values::mode),
        from: reader.list(table, "from", values::prefix).unwrap_or_default(),
        listen: default.listen,
    };
    if !known {
        return None;
    }
    let listen = &syslog.listen;
    if listen.address().is_none() {
        reader.unsuited(table, &["from"], "for a unix socket: its permissions (socket_mode) say who may send");
    } else {
        reader.unsuited(table, &["socket_mode"], "except for a unix socket");
    }
    if !matches!(listen, Listen::Udp(_)) {
        reader.unsuited(table, &["trust_network"], "except for UDP, where a sender's address can be made up");
    }
    if !listen.is_stream() {
        reader.unsuited(table, &STREAM_KEYS, "without connections");
    }
    // Not `syslog.from`: a list whose entries are all wrong is reported already.
    let certified = listen.identity().is_some_and(|identity| identity.clients.is_some());
    if !listen.is_local() && !certified && !table.has_items("from") {
        let or = match listen.identity() {
            Some(_) => "demand certificates of a CA of yours, such as client_ca = \"/etc/denyd/ca.pem\", ",
            None => "",
        };
        let expected = format!(
            "whoever can reach it could write log lines, and so decide who is denied; {or}\
             name the senders, such as from = [\"192.0.2.0/24\"], or listen on 127.0.0.1"
        );
        reader.wrong(table, "listen", expected);
    }
    Some(syslog)
}
