//! The inputs: what is read, and what a reader must know of it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use inputs::input::Start;
use inputs::journald::follow::Reader;
use inputs::syslog::listen::{Listen, Options, TlsError};
use inputs::syslog::parse::{Format, Framing, Parser};
use jiff::tz::TimeZone;

use super::values::{Trusted, url};
use crate::decide::prefix::Prefix;
use crate::decide::range::{Range, merge};
use crate::deny::effect::{Protocol, Spared};

/// A log that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Names it in output and beside its cursor. Default: the path or the listener's address.
    pub name: String,
    /// The origin host of all its records, instead of what they claim. Lower case.
    pub host: Option<String>,
    /// The zone of stamps that name none; `None` = the machine's.
    pub timezone: Option<TimeZone>,
    /// Where the first start begins, of a log; later ones go on at the cursor.
    pub first_read: Start,
    /// Where its records come from.
    pub source: Source,
}

/// Where the records of an input come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there are few of them")]
pub enum Source {
    /// A plain file, followed.
    File(File),
    /// The systemd journal, followed.
    Journald(Journald),
    /// The directory of a multilog, or of a svlogd with `-t`, followed; the one that holds `current`.
    Multilog(File),
    /// A socket that we listen on.
    Syslog(Syslog),
}

/// A log of lines, followed through rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its absolute path.
    pub path: PathBuf,
    /// How its lines are written.
    pub format: Format,
    /// The program whose own output it is; `None` = its lines name their programs.
    pub identifier: Option<&'static str>,
    /// Where sshd's message is in its lines, if they have a format that nobody else knows.
    pub framing: Option<Framing>,
}

/// The systemd journal, of this machine or in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journald {
    /// A directory of journals; `None` = this machine's.
    pub directory: Option<PathBuf>,
    /// Which program reads.
    pub reader: Reader,
}

/// A syslog listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// The socket.
    pub listen: Listen,
    /// The network does not let spoofed UDP source addresses through, or all who can reach loopback are trusted.
    pub trust_network: bool,
    /// Who may write there beside root: the log daemon's user, whose group has the socket.
    pub trusted_user: Option<Trusted>,
    /// A header inside the message replaces the outer one.
    pub unwrap_imfile: bool,
    /// Who may send, and how much. Anybody may only to loopback, unix sockets, and TLS with client certificates.
    pub options: Options,
}

impl Input {
    /// One that is given nothing else.
    pub fn of(source: Source) -> Self {
        Input { name: source.name(), host: None, timezone: None, first_read: Start::Now, source }
    }

    /// Says why its certificates cannot be used, where it has any.
    pub fn try_certificates(&self) -> Result<(), TlsError> {
        match &self.source {
            Source::Syslog(Syslog { listen: Listen::Tls(_, identity), .. }) => identity.usable(),
            _ => Ok(()),
        }
    }

    /// The user beside root whose records are believed, of whomever they tell.
    pub fn trusted_uid(&self) -> Option<u32> {
        let Source::Syslog(syslog) = &self.source else { return None };
        Some(syslog.trusted_user.as_ref()?.uid)
    }

    /// What makes records of its lines.
    pub fn parser(&self) -> Parser {
        let format = match &self.source {
            Source::File(file) | Source::Multilog(file) => file.format,
            Source::Journald(_) => Format::Auto, // its entries have no lines
            Source::Syslog(_) => Format::Syslog,
        };
        let mut parser = Parser::new(format, self.timezone.clone().unwrap_or_else(TimeZone::system));
        parser.unwrap(matches!(&self.source, Source::Syslog(syslog) if syslog.unwrap_imfile));
        parser.bare(self.bare());
        parser.frame(self.framing().cloned());
        parser
    }

    /// The program whose own output it is, if its lines have no header.
    pub fn bare(&self) -> Option<&'static str> {
        match &self.source {
            Source::File(File { format: Format::Message, identifier: None, .. }) => Some("sshd"),
            Source::File(file) | Source::Multilog(file) => file.identifier,
            Source::Journald(_) | Source::Syslog(_) => None,
        }
    }

    /// Where sshd's message is in its lines, if the administrator says that.
    pub fn framing(&self) -> Option<&Framing> {
        match &self.source {
            Source::File(file) | Source::Multilog(file) => file.framing.as_ref(),
            Source::Journald(_) | Source::Syslog(_) => None,
        }
    }

    /// Whether what is written on this machine may come by it.
    pub fn may_be_local(&self) -> bool {
        match &self.source {
            Source::File(_) | Source::Multilog(_) => true,
            Source::Journald(journald) => journald.directory.is_none(),
            Source::Syslog(syslog) => syslog.address().is_none_or(|address| address.ip().to_canonical().is_loopback()),
        }
    }

    /// Where its senders reach it, though their addresses are denied: those of `from`, or all where only a certificate tells
    /// who may send. Nothing where they need no network.
    pub fn spared(&self) -> Vec<Spared> {
        let Source::Syslog(syslog) = &self.source else { return Vec::new() };
        let Some(address) = syslog.address().filter(|address| !address.ip().to_canonical().is_loopback()) else {
            return Vec::new();
        };
        let protocol = if matches!(syslog.listen, Listen::Udp(_)) { Protocol::Udp } else { Protocol::Tcp };
        let at = Some(address.ip().to_canonical()).filter(|at| !at.is_unspecified());
        // What listens on all addresses of IPv6 hears IPv4, too.
        let hears = |ipv4| at.unwrap_or(address.ip()).is_ipv4() == ipv4 || address.ip() == IpAddr::from([0; 16]);
        let everybody = [IpAddr::from([0; 4]), IpAddr::from([0; 16])].map(|all| (all, 0));
        let from = &syslog.options.from;
        let from = if from.is_empty() { &everybody[..] } else { from };
        let from = from.iter().map(|(address, bits)| Range::from(Prefix::of(*address, *bits)));
        let from = merge(from.collect()).into_iter().flat_map(|range| range.prefixes());
        let port = address.port();
        from.filter(|from| hears(from.is_ipv4())).map(|from| Spared { from, protocol, at, port }).collect()
    }

    /// Whether strangers may be able to make up its records: UDP from a network that lets false addresses through, what
    /// listens on loopback, which every local user reaches and a web application that can be made to post, and sshd's
    /// own output (`-e`, `-E`), in which it does not escape the newlines of a user's name. A multilog may hold that
    /// whatever the configuration says: without `identifier` only the strangers' lines would look like sshd's.
    pub fn is_forgeable(&self) -> bool {
        match &self.source {
            Source::Syslog(syslog) => syslog.is_open() && !syslog.trust_network,
            Source::Multilog(_) => true,
            _ => self.bare().is_some(),
        }
    }
}

impl Syslog {
    /// A listener with the default limits.
    pub fn new(listen: Listen) -> Self {
        let options = Options { mode: 0o660, ..Options::default() };
        Syslog { listen, trust_network: false, trusted_user: None, unwrap_imfile: false, options }
    }

    /// The address of an internet socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self.listen {
            Listen::Udp(address) | Listen::Tcp(address) | Listen::Tls(address, _) => Some(address),
            Listen::UnixStream(_) | Listen::UnixDatagram(_) => None,
        }
    }

    /// The path of a unix socket.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.listen {
            Listen::UnixStream(path) | Listen::UnixDatagram(path) => Some(path),
            Listen::Udp(_) | Listen::Tcp(_) | Listen::Tls(..) => None,
        }
    }

    /// Whether it has connections.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.listen, Listen::Tcp(_) | Listen::Tls(..) | Listen::UnixStream(_))
    }

    /// Whether only this machine can reach it, or senders that have a certificate.
    pub(super) fn is_closed(&self) -> bool {
        let is_certified = matches!(&self.listen, Listen::Tls(_, identity) if identity.clients.is_some());
        is_certified || self.address().is_none_or(|address| address.ip().to_canonical().is_loopback())
    }

    /// Whether nothing but `trust_network` speaks for who sends: UDP, and loopback without client certificates.
    pub(super) fn is_open(&self) -> bool {
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        match &self.listen {
            Listen::Udp(_) => true,
            Listen::Tcp(address) => is_loopback(address),
            Listen::Tls(address, identity) => identity.clients.is_none() && is_loopback(address),
            Listen::UnixStream(_) | Listen::UnixDatagram(_) => false,
        }
    }

    /// Whether both need the same socket.
    pub(super) fn collides(&self, other: &Syslog) -> bool {
        let udp = |syslog: &Syslog| matches!(syslog.listen, Listen::Udp(_));
        match (self.address(), other.address()) {
            (Some(one), Some(two)) => one == two && udp(self) == udp(other),
            _ => self.path().is_some() && self.path() == other.path(),
        }
    }
}

impl Source {
    /// Its kind, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::File(_) => "file",
            Source::Journald(_) => "journald",
            Source::Multilog(_) => "multilog",
            Source::Syslog(_) => "syslog",
        }
    }

    /// The name of an input that was given none.
    pub fn name(&self) -> String {
        match self {
            Source::File(File { path, .. })
            | Source::Multilog(File { path, .. })
            | Source::Journald(Journald { directory: Some(path), .. }) => path.display().to_string(),
            Source::Journald(_) => "journald".to_owned(),
            Source::Syslog(syslog) => url(&syslog.listen),
        }
    }
}
