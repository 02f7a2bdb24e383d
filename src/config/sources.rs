//! The keys of an `[[input]]`.

use std::path::{Path, PathBuf};

use inputs::input::Start;
use inputs::journald::follow::Reader as JournalReader;
use inputs::syslog::frame;
use inputs::syslog::listen::{Clients, Identity, Listen, Permitted};
use inputs::syslog::parse::{Format, Framing, MESSAGE};

use super::codec::{Codec, duration, parsed, whole, words, yes};
use super::document::{Reader, Table};
use super::duration;
use super::input::{File, Input, Journald, Source, Syslog};
use super::key::{Key, Section};
use super::values::{host, listen, local_user, mode, name, path, timezone};
use crate::decide::prefix::Prefix;
use crate::detect::rule;
use together::{check, clash, meaningless};

mod together;

const KINDS: &str = "write kind = \"file\", kind = \"multilog\", kind = \"journald\" or kind = \"syslog\"";

/// How lines are written, in words.
pub const FORMATS: [(&str, Format); 5] = [
    ("auto", Format::Auto),
    ("syslog", Format::Syslog),
    ("message", Format::Message),
    ("multilog", Format::Multilog),
    ("metalog", Format::Metalog),
];

/// A key of an input.
type InputKey = Key<Input>;

/// A key of a part of an input, which has a meaning where there is that part.
fn key<P: 'static, T: 'static>(
    part: fn(&mut Input) -> Option<&mut P>,
    name: &'static str,
    codec: Codec<T>,
    place: fn(&mut P) -> &mut T,
) -> InputKey {
    Key::new(name, codec, move |input| part(input).map(place))
}

/// The keys of an input, in an order in which each has those before it that decide what it means.
pub(super) fn section() -> Section<Input> {
    let of_tls = |key: InputKey| key.except("except for TLS, listen = \"tls://ADDRESS:PORT\"");
    let of_streams = |key: InputKey| key.except("without connections");
    let mut keys = common();
    keys.extend(logs());
    keys.extend(listeners());
    keys.extend(certificates().into_iter().map(of_tls));
    keys.extend(streams().into_iter().map(of_streams));
    keys.extend(limits());
    Section { name: "[[input]]", keys, tables: &[] }
}

/// The keys that every input may have.
pub(super) fn common() -> Vec<InputKey> {
    vec![
        Key::new("name", name().left_out_if(String::is_empty), |i: &mut Input| Some(&mut i.name))
            .says("Names it in output. Default: its path, its directory, \"journald\", or its listen."),
        Key::new("host", host().optional(), |i: &mut Input| Some(&mut i.host))
            .says("The host that all its records are of, instead of the one that they claim. No default."),
        Key::new("timezone", timezone().optional(), |i: &mut Input| Some(&mut i.timezone))
            .says(r#"The zone of times that name none, such as "Europe/Berlin" or "UTC". Default: the machine's."#),
        Key::new("kind", kind(), |i: &mut Input| Some(&mut i.source))
            .needs(|_| KINDS)
            .says(r#""file", "multilog", "journald" or "syslog". It has to be there."#),
    ]
}

fn kind() -> Codec<Source> {
    let read = |text: &str| match text {
        "file" => Ok(Source::File(File::default())),
        "multilog" => Ok(Source::Multilog(File { format: Format::Multilog, ..File::default() })),
        "journald" => Ok(Source::Journald(Journald::default())),
        "syslog" => Ok(Source::Syslog(Syslog::new(nowhere()))),
        "metalog" => Err("metalog writes files; write kind = \"file\" and format = \"metalog\", \
                          and name the file, such as path = \"/var/log/sshd/current\""
            .to_owned()),
        _ => Err(format!("no such kind of input; {KINDS}")),
    };
    Codec::text(read, |source| source.kind().to_owned())
}

/// What a listener has before its `listen` is read, or where that is wrong.
fn nowhere() -> Listen {
    Listen::UnixStream(PathBuf::new())
}

fn logs() -> Vec<InputKey> {
    let readers =
        [("auto", JournalReader::Auto), ("native", JournalReader::Native), ("journalctl", JournalReader::Journalctl)];
    vec![
        key(lines, "path", path(), |file| &mut file.path)
            .denyhosts("SECURE_LOG")
            .needs(|i| match i.source {
                Source::Multilog(_) => "write the directory that multilog writes, such as path = \"/var/log/sshd\"",
                _ => "write the file's path, such as path = \"/var/log/auth.log\"",
            })
            .says("The file, or the directory that multilog writes."),
        Key::new("format", words(&FORMATS), |i: &mut Input| match &mut i.source {
            Source::File(file) => Some(&mut file.format),
            _ => None,
        })
        .says(
            r#""auto" tells syslog and its relatives apart line by line, "message" is bare messages of sshd, without
            time; the others are "syslog", "multilog" and "metalog". metalog's `current`, with format = "metalog", is
            followed into log-2026-11-22-06:25:01 and so on."#,
        ),
        key(journald, "directory", path().optional(), |journald| &mut journald.directory).says(
            "Journals in another place, such as those that systemd-journal-remote received. Default: those of this
            machine.",
        ),
        key(journald, "reader", words(&readers), |journald| &mut journald.reader)
            .says(r#""native" is denyd's own, "journalctl" asks that program, "auto" takes the first while it can."#),
        Key::new("first_read", first_read(), |i: &mut Input| {
            Some(&mut i.first_read).filter(|_| !matches!(i.source, Source::Syslog(_)))
        })
        .says(
            r#"Where the very first start begins, "now" or "beginning", or for a journal so long ago, as "1d"; later
            starts go on where the last one ended. A multilog's "beginning" is the oldest file of its directory."#,
        ),
        key(headless, "identifier", program().optional(), |file| &mut file.identifier).says(
            r#"The program whose own output it is: "sshd", for files and multilogs of what sshd writes to its standard error
            (`sshd -e`, `sshd -E FILE`), "dropbear", or one that rules are for: lines without any header.
            sshd does not escape line ends in them, so that a stranger can write whole lines of his own by a user name with
            a line end in it, and nothing tells them from sshd's. Therefore such records, those of any multilog, and those of a file with format = "message" never clear a count and never report a
            login, and a deny that rests on them lasts an hour at most. Let sshd log to syslog or to the journal where
            you can. No default."#,
        ),
        key(framed, "format_regex", framing().optional(), |file| &mut file.framing).denyhosts("SSHD_FORMAT_REGEX").says(
            r#"Where sshd's message is in lines whose header denyd does not know: a regular expression with a group
            (?P<message>…), such as '^\d+ sshd\[\d+\]: (?P<message>.*)$'. What it matches is sshd's; a line whose header
            names a program is read by that. Where strangers could write what it wants before the message (it does not
            begin with ^, or has `.*` there), such records never clear a count and never report a login, and a deny that
            rests on them lasts an hour at most. No default."#,
        ),
    ]
}

/// A program's name. It is kept for as long as we run: batches of records refer to it.
fn program() -> Codec<&'static str> {
    Codec::text(program_name, |name| (*name).to_owned())
}

/// The same of a command line.
pub(crate) fn program_name(text: &str) -> Result<&'static str, String> {
    let fits = (1..=rule::NAME_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let expected = "expected a program's name without blanks, such as \"sshd\" or \"dropbear\"".to_owned();
    if fits { Ok(text.to_owned().leak()) } else { Err(expected) }
}

/// A framing of lines.
fn framing() -> Codec<Framing> {
    let read = |pattern: &str| {
        let is_sound = rule::pattern::is_led_by_fixed_text(pattern, MESSAGE);
        let is_long = pattern.len() > rule::PATTERN_MAX;
        match Framing::new(pattern, is_sound) {
            _ if is_long => Err(format!("expected {} bytes at most", rule::PATTERN_MAX)),
            Ok(framing) => Ok(framing),
            // The last line of the engine's own message says what it is.
            Err(why) => Err(why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()),
        }
    };
    Codec::text(read, |framing| framing.pattern().to_owned())
}

fn first_read() -> Codec<Start> {
    let read = |text: &str| match (text, duration::parse(text)) {
        ("now", _) => Ok(Start::Now),
        ("beginning", _) => Ok(Start::Beginning),
        (_, Ok(time)) => Ok(Start::Back(time)),
        _ => Err("expected \"now\", \"beginning\" or, for a journal, a time back, such as \"1d\"".to_owned()),
    };
    let show = |first: &Start| match first {
        Start::Now => "now".to_owned(),
        // No configuration has a cursor.
        Start::Beginning | Start::Cursor(_) => "beginning".to_owned(),
        Start::Back(time) => duration::show(*time),
    };
    Codec::text(read, show)
}

/// The file or the multilog of an input.
fn lines(input: &mut Input) -> Option<&mut File> {
    let (Source::File(file) | Source::Multilog(file)) = &mut input.source else { return None };
    Some(file)
}

/// The same, where its lines may have no header.
fn headless(input: &mut Input) -> Option<&mut File> {
    lines(input).filter(|file| !matches!(file.format, Format::Syslog | Format::Metalog))
}

/// The same, where they have a header at all.
fn framed(input: &mut Input) -> Option<&mut File> {
    lines(input).filter(|file| file.format != Format::Message && file.identifier.is_none())
}

/// The journal of an input.
fn journald(input: &mut Input) -> Option<&mut Journald> {
    let Source::Journald(journald) = &mut input.source else { return None };
    Some(journald)
}

/// The listener of an input.
fn syslog(input: &mut Input) -> Option<&mut Syslog> {
    let Source::Syslog(syslog) = &mut input.source else { return None };
    Some(syslog)
}

/// The same, where it listens on a unix socket.
fn unix(input: &mut Input) -> Option<&mut Syslog> {
    syslog(input).filter(|syslog| syslog.path().is_some())
}

/// The same, where it has connections.
fn stream(input: &mut Input) -> Option<&mut Syslog> {
    syslog(input).filter(|syslog| syslog.is_stream())
}

/// The certificates of a listener that has them.
fn tls(input: &mut Input) -> Option<&mut Identity> {
    let Listen::Tls(_, identity) = &mut syslog(input)?.listen else { return None };
    Some(identity)
}

fn listeners() -> Vec<InputKey> {
    let network =
        parsed(|_| "expected an address or a prefix, such as \"192.0.2.0/24\" or \"2001:db8::/64\"".to_owned()).then(
            |prefix: Prefix| Ok((prefix.address(), prefix.bits())),
            |(address, bits)| Prefix::of(*address, *bits),
        );
    vec![
        key(syslog, "listen", listen(), |syslog| &mut syslog.listen)
            .needs(|_| "write where to listen, such as listen = \"udp://127.0.0.1:514\"")
            .says(
                r#""udp://ADDRESS:PORT", "tcp://ADDRESS:PORT", "tls://ADDRESS:PORT", "unix-datagram:///PATH", or
                "unix:///PATH" for a stream. systemd can open these sockets instead (socket activation): one that is
                bound to the same address or path, or has the input's name as its FileDescriptorName=, is taken. Its
                file and permissions are then systemd's."#,
            ),
        Key::new("from", network.list(), |i: &mut Input| {
            syslog(i).filter(|syslog| syslog.address().is_some()).map(|syslog| &mut syslog.options.from)
        })
        .except("for a unix socket: its permissions (socket_mode) say who may send")
        .says(
            "Who may send. Without it only loopback addresses can be listened on, since whoever can send could have
            anybody denied.",
        ),
        key(unix, "socket_mode", mode(), |syslog| &mut syslog.options.mode)
            .except("except for a unix socket")
            .says("The permissions of a unix socket, in octal, which say who may send."),
        key(unix, "trusted_user", local_user().optional(), |syslog| &mut syslog.trusted_user)
            .except("except for a unix socket, of which the kernel tells who writes")
            .says(
                r#"The user beside root whose records are believed: the log daemon's, where that is not root, as Ubuntu's
                "syslog". The socket gets its group. What others write into the socket counts as forged. No default."#,
            ),
    ]
}

fn certificates() -> Vec<InputKey> {
    let authority = path().then(|ca| Ok(Clients { ca, permitted: Vec::new() }), |clients| clients.ca.clone());
    const NAME: &str = "expected a name in certificates, such as \"web1.example.org\", or \"*.example.org\" for all with one more label";
    let names = parsed::<Permitted>(|_| NAME.to_owned())
        .list()
        .of(1..=usize::MAX, "expected at least one name; without this key every certificate of client_ca is taken")
        .left_out_if(Vec::is_empty);
    vec![
        key(tls, "certificate", path(), |identity| &mut identity.certificate)
            .needs(
                |_| "write the PEM file of this machine's certificate, such as certificate = \"/etc/denyd/server.pem\"",
            )
            .says("This machine's certificate, in PEM, and behind it in the same file those of intermediate CAs."),
        key(tls, "key", path(), |identity| &mut identity.key)
            .needs(|_| "write the PEM file of the certificate's private key, such as key = \"/etc/denyd/server.key\"")
            .says("The certificate's private key, in PEM, not encrypted."),
        key(tls, "client_ca", authority.optional(), |identity| &mut identity.clients).says(
            "The CA (or several in one file) of which a sender must have a certificate. Use one of your own, since of a
                public one everybody can have it. With it `from` may be left out; where strangers can reach the port,
                write both.",
        ),
        Key::new("permitted", names, |i: &mut Input| Some(&mut tls(i)?.clients.as_mut()?.permitted)).says(
            "The names of which the certificate must have one, exact or with `*.` for one label; without this key all
            certificates of client_ca will do. Names are the certificate's DNS names (subjectAltName), or its common
            name if it has none.",
        ),
    ]
}

fn streams() -> Vec<InputKey> {
    let framings = [
        ("auto", frame::Framing::Auto),
        ("newline", frame::Framing::Newline),
        ("octet-counted", frame::Framing::OctetCounted),
    ];
    vec![
        key(stream, "framing", words(&framings), |syslog| &mut syslog.options.framing).says(
            r#"How the messages of a stream are told apart. "auto" sees it by each message's beginning. A sender
                that ends messages with a newline but also leaves newlines inside of them (rsyslog with
                parser.escapeControlCharactersOnReceive="off") needs "newline": with "auto" whoever gets a line that
                begins with a number into its log could hide what comes next. "octet-counted" closes connections of
                senders that do not count."#,
        ),
        key(stream, "max_connections", whole(1..=65_536, ""), |syslog| &mut syslog.options.max_connections)
            .says("How many connections there may be in all, 1 to 65536."),
        key(stream, "max_per_sender", whole(1..=65_536, ""), |syslog| &mut syslog.options.max_per_sender)
            .says("How many there may be of one sender (of IPv6, of one /64)."),
        key(stream, "idle_timeout", duration(""), |syslog| &mut syslog.options.idle)
            .says("How long a connection may be silent before it is closed."),
    ]
}

fn limits() -> Vec<InputKey> {
    vec![
        Key::new("trust_network", yes(), |i: &mut Input| {
            syslog(i).filter(|syslog| syslog.is_open()).map(|syslog| &mut syslog.trust_network)
        })
        .except("except for UDP, where a sender's address can be made up, and on loopback, which every local user reaches")
        .says(
            "A sender's address is easily made up over UDP, and every local user reaches loopback, as does whoever can make
            a web application post there. So records that came this way never clear a count, and a deny that rests on
            them alone lasts an hour at most. true says that your network lets no made-up addresses in, and of loopback
            that you trust all local users and programs; better is a unix socket, of which the kernel tells who writes.",
        ),
        // One a second would still be one too few for some logins.
        key(syslog, "max_rate", whole(100..=u32::MAX, " (messages a second)"), |syslog| &mut syslog.options.max_rate)
        .says(
            "Messages of one sender in a second, 100 or more; what is more is lost over UDP, and counted as lost and as
            limited, and waits elsewhere, so that one sender leaves room for the others. A sender is an address, a user
            id or a certificate's name.",
        ),
        key(syslog, "unwrap_imfile", yes(), |syslog| &mut syslog.unwrap_imfile).says(
            "true is for senders whose rsyslog reads files (imfile) and puts a header before lines that have their own.",
        ),
    ]
}

/// Reads all inputs, without those that cannot be; `control_socket` is taken already.
pub(super) fn read(reader: &mut Reader<'_>, top: &Table<'_>, control_socket: &Path) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for table in reader.tables(top, "input", "[[input]]") {
        let Some(input) = read_one(reader, &table) else { continue };
        if let Source::Syslog(syslog) = &input.source
            && syslog.path() == Some(control_socket)
        {
            reader.wrong(&table, "listen", "this path is the control socket; choose another");
        }
        let clash = inputs.iter().find_map(|other| clash(other, &input));
        match clash {
            Some((key, what)) if table.has(key) => reader.wrong(&table, key, &what),
            // The name was derived, and another input was given it.
            Some((_, what)) => reader.missing(&table, "name", &what),
            None => inputs.push(input),
        }
    }
    inputs
}

fn read_one(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Input> {
    let mut input = Input { name: String::new(), ..Input::of(Source::Journald(Journald::default())) };
    let (common, Section { keys, .. }) = (common(), section());
    if !reader.fill(table, &common, &mut input, |_, _| None) {
        return None;
    }
    let whole = reader.fill(table, &keys[common.len()..], &mut input, meaningless);
    check(reader, table, &input);
    if input.name.is_empty() {
        input.name = input.source.name();
    }
    whole.then_some(input)
}

/// The table of an input, as a file would say it.
pub(super) fn write(input: &Input) -> String {
    let mut input = input.clone();
    // A derived name is left out: it may be longer than a given one may be.
    if input.name == input.source.name() {
        input.name.clear();
    }
    section().write(&mut input)
}
