//! Says what is what in a line or frame.
//!
//! Promises never to fail, to allocate nothing on the two layouts that files have (RFC 3164's and the same with
//! an RFC 3339 stamp), and to leave the message's bytes as they are: what has no known header is all message.
//!
//! RFC 5424 is read here too: its grammar is forty lines, and `syslog_loose` wants text (hostile user names
//! are raw bytes), trims the message and collects structured data that nobody reads. `syslog_loose` is asked
//! only about the stamps of odd dialects (`parse/dialect.rs`).
//!
//! It does not multiply `message repeated N times: […]`, and believes nothing: any program can write any tag.

mod dialect;
mod stamp;

use crate::record::{Batch, Parts, SourceId, Timestamp};
use stamp::Stamps;

/// The longest program name that is taken for one, in bytes.
const TAG_MAX: usize = 64;

/// The longest text in the brackets behind a program's name, in bytes.
const PID_MAX: usize = 32;

/// The longest host name, in bytes (RFC 5424, section 6).
const HOST_MAX: usize = 255;

/// The longest process id of RFC 5424, in bytes.
const PROCID_MAX: usize = 128;

/// The greatest priority: facility 23, severity 7.
const PRI_MAX: u16 = 191;

/// How the lines of an input are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Told apart per line by its first bytes: syslog in all its forms, multilog's TAI64N, metalog's `[program]`.
    #[default]
    Auto,
    /// Syslog with or without priority: RFC 3164, RFC 5424, RFC 3339 stamps.
    Syslog,
    /// A bare message without any header: each line is all message, of sshd.
    Message,
    /// multilog's `@4000000069…` before each line, which may have a syslog header of its own; lines without it are read as [`Format::Auto`].
    Multilog,
    /// metalog's `Nov 21 23:26:32 [sshd] message`; what is not so is all message.
    Metalog,
}

/// Reads the headers of the lines of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parser {
    format: Format,
    unwrap: bool,
    /// Of which program all lines are, if no header is looked for in them.
    bare: Option<&'static [u8]>,
    stamps: Stamps,
    beginning: Option<Beginning>,
}

/// How the last line of RFC 3164's layout began: `Mon dd hh:mm:ss host `. Most lines are of the same second and host
/// as the one before, so that one comparison stands for the look at both.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Beginning {
    stamp: [u8; STAMP_LEN],
    /// With its blank.
    host: Vec<u8>,
    event: Timestamp,
    /// What the year was judged by.
    reference: Timestamp,
}

/// `Mon dd hh:mm:ss `, in bytes.
const STAMP_LEN: usize = 16;

impl Default for Parser {
    fn default() -> Self {
        Parser::new(Format::Auto, jiff::tz::TimeZone::UTC)
    }
}

impl Parser {
    /// A parser for an input whose stamps without zone are of `zone`.
    pub fn new(format: Format, zone: jiff::tz::TimeZone) -> Self {
        let bare = (format == Format::Message).then_some(b"sshd".as_slice());
        Parser { format, unwrap: false, bare, stamps: Stamps::new(zone), beginning: None }
    }

    /// Says whether a header inside the message replaces the outer one, as rsyslog's imfile sends lines of files that have their own.
    ///
    /// Off unless the operator says so of an input: any program's text could look like a header, and whoever
    /// can make a program log a line of his choice would then be sshd, on a host of his choice.
    pub fn unwrap(&mut self, unwrap: bool) {
        self.unwrap = unwrap;
    }

    /// Says whether the lines are one program's own output (`sshd -e`), and whose: no header is looked for in them but
    /// multilog's label or svlogd's stamp. Behind it strangers may have written the line, and would be any host.
    pub fn bare(&mut self, identifier: Option<&'static str>) {
        if let Some(identifier) = identifier {
            self.bare = Some(identifier.as_bytes());
        }
    }

    /// A batch of lines that nobody vouches for, read now.
    pub fn batch<'l>(&mut self, now: Timestamp, lines: impl IntoIterator<Item = &'l [u8]>) -> Batch {
        let mut batch = Batch::new(SourceId::default(), now);
        lines.into_iter().for_each(|line| batch.add(line, 0, false));
        self.parse(&mut batch);
        batch
    }

    /// Says what is what in the lines of a batch, which must be dated. What has no known header is all message.
    pub fn parse(&mut self, batch: &mut Batch) {
        let reference = batch.reference;
        batch.identifier = self.bare.unwrap_or_default();
        batch.read(|line| {
            let line = without_end(line);
            let header = match self.like_the_last(line, reference) {
                Some(header) => header,
                None => self.header(line, reference).unwrap_or(Parts { message: line, ..Parts::default() }),
            };
            Parts { message: header.message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header.message), ..header }
        });
    }

    fn header<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        if self.bare.is_some() {
            return Some(self.output(line));
        }
        let outer = match self.format {
            Format::Message => None,
            Format::Syslog => self.syslog(line, reference),
            Format::Metalog => self.metalog(line, reference),
            Format::Auto | Format::Multilog if line.first() == Some(&b'@') => self.multilog(line, reference),
            Format::Auto | Format::Multilog => self.plain(line, reference),
        }?;
        if self.unwrap
            && let Some(inner) = self.syslog(outer.message, reference)
            && !inner.identifier.is_empty()
        {
            return Some(inner);
        }
        Some(outer)
    }

    /// The label's time stands whatever the rest says: multilog wrote it, and a stranger may have written the rest.
    fn multilog<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let (event, rest) = labelled(line)?;
        let inner = self.plain(rest, reference).unwrap_or(Parts { message: rest, ..Parts::default() });
        Some(Parts { event: Some(event), labelled: true, ..inner })
    }

    /// A line of one program's own output.
    fn output<'a>(&mut self, line: &'a [u8]) -> Parts<'a> {
        let stamped = match line.first() {
            Some(b'@') if self.format != Format::Message => labelled(line),
            Some(b'0'..=b'9') if self.format == Format::Auto => {
                self.stamps.rfc3339(line).and_then(|(event, len)| Some((event, line[len..].strip_prefix(b" ")?)))
            }
            _ => None,
        };
        let (event, message) = stamped.map_or((None, line), |(event, message)| (Some(event), message));
        Parts { event, labelled: event.is_some() && line.first() == Some(&b'@'), message, ..Parts::default() }
    }

    /// metalog or syslog: a host does not begin with a bracket, so they cannot be confused.
    fn plain<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        match line.get(16) {
            Some(b'[') => self.metalog(line, reference).or_else(|| self.syslog(line, reference)),
            _ => self.syslog(line, reference),
        }
    }

    fn metalog<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let (event, len) = self.stamps.traditional(line, reference)?;
        let rest = line[len..].strip_prefix(b" [")?;
        let end = name_len(rest);
        let message = match rest.get(end..)? {
            [b']', b' ', message @ ..] if end > 0 => message,
            [b']'] if end > 0 => b"",
            _ => return None,
        };
        Some(Parts { event: Some(event), identifier: &rest[..end], message, ..Parts::default() })
    }

    fn syslog<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let Some((b'<', _)) = line.split_first() else { return self.stamped(line, reference) };
        let rest = after_priority(line)?;
        match rest.strip_prefix(b"1 ") {
            Some(rest) => self.rfc5424(rest),
            // A sender without a clock: RFC 3164, section 4.3.3.
            None => self.stamped(rest, reference).or_else(|| tagged(rest)),
        }
    }

    /// A line that begins as the last one did.
    #[inline(always)]
    fn like_the_last<'a>(&self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let last = self.beginning.as_ref().filter(|last| last.reference == reference)?;
        let (stamp, rest) = line.split_first_chunk::<STAMP_LEN>()?;
        if *stamp != last.stamp {
            return None;
        }
        let header = tagged(rest.strip_prefix(&last.host[..])?)?;
        Some(Parts { event: Some(last.event), host: &rest[..last.host.len() - 1], ..header })
    }

    /// A stamp, then a host or none, then a tag or none.
    fn stamped<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        self.like_the_last(line, reference).or_else(|| self.stamped_anew(line, reference))
    }

    fn stamped_anew<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let stamp = match line.first()? {
            b'0'..=b'9' => self.stamps.rfc3339(line),
            _ => self.stamps.traditional(line, reference),
        };
        let stamp = stamp.and_then(|(event, len)| Some((event, line[len..].strip_prefix(b" ")?)));
        let Some((event, rest)) = stamp else {
            let (event, rest) = dialect::stamp(line, reference, &self.stamps)?;
            return Some(Parts { event: Some(event), ..host_and_tag(rest) });
        };
        let header = host_and_tag(rest);
        if let Some((stamp, behind)) = line.split_first_chunk::<STAMP_LEN>()
            && rest.len() == behind.len()
            && !(header.host.is_empty() || header.identifier.is_empty() || self.unwrap)
            // Without a priority before it that would be metalog's program.
            && !rest.starts_with(b"[")
        {
            let mut host = self.beginning.take().map_or_else(Vec::new, |last| last.host);
            host.clear();
            host.extend_from_slice(&rest[..header.host.len() + 1]);
            self.beginning = Some(Beginning { stamp: *stamp, host, event, reference });
        }
        Some(Parts { event: Some(event), ..header })
    }

    /// What follows `<PRI>1 `: six fields that may be `-`, and the message.
    fn rfc5424<'a>(&mut self, line: &'a [u8]) -> Option<Parts<'a>> {
        let (stamp, rest) = field(line, HOST_MAX)?;
        let event = match stamp {
            b"" => None,
            _ => Some(self.stamps.rfc3339(stamp).filter(|&(_, len)| len == stamp.len())?.0),
        };
        let (host, rest) = field(rest, HOST_MAX)?;
        let (identifier, rest) = field(rest, TAG_MAX)?;
        let (pid, rest) = field(rest, PROCID_MAX)?;
        let (_, rest) = field(rest, TAG_MAX)?;
        let rest = after_structured_data(rest)?;
        // rsyslog's template puts a blank before a message that begins with one already.
        let message = rest.strip_prefix(b" ").map_or(rest, |rest| rest.strip_prefix(b" ").unwrap_or(rest));
        Some(Parts { event, host, identifier, pid: number(pid), message, ..Parts::default() })
    }
}

/// What multilog's label says, and what follows it and its blank.
fn labelled(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (event, len) = stamp::tai64n(line)?;
    match line[len..].split_first() {
        None => Some((event, &line[len..])),
        Some((b' ', rest)) => Some((event, rest)),
        Some(_) => None,
    }
}

/// A line without the end that senders leave in their frames: LF, CR LF (or the CR that a line reader left), and one NUL on either side of it.
fn without_end(line: &[u8]) -> &[u8] {
    if line.last().is_none_or(|&byte| byte > b'\r') {
        return line;
    }
    [b'\0', b'\n', b'\r', b'\0'].iter().fold(line, |line, end| line.strip_suffix(&[*end]).unwrap_or(line))
}

/// What follows `<PRI>`; `None` where it is none.
fn after_priority(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"<")?;
    let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) || rest.get(digits) != Some(&b'>') {
        return None;
    }
    let priority = rest[..digits].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    (priority <= PRI_MAX).then_some(&rest[digits + 1..])
}

/// What syslog daemons say for themselves, where they name no host.
const UNHOSTED: [&[u8]; 3] = [b"last message repeated ", b"--- last message repeated ", b"-- MARK --"];

/// Splits what follows a stamp. A first word that is a tag means that there is no host (busybox, glibc's /dev/log).
#[inline]
fn host_and_tag(rest: &[u8]) -> Parts<'_> {
    let bare = Parts { message: rest, ..Parts::default() };
    let name = name_len(rest);
    let end = match rest.get(name) {
        // Nearly always: a word without colon and bracket.
        Some(b' ') => name,
        _ => match (tagged(rest), memchr::memchr(b' ', &rest[..rest.len().min(HOST_MAX + 1)])) {
            (Some(header), _) => return header,
            (None, Some(end)) => end,
            (None, None) => return bare,
        },
    };
    if end == 0 {
        return bare;
    }
    let (host, after) = (nil(&rest[..end]), &rest[end + 1..]);
    match tagged(after) {
        Some(header) => Parts { host, ..header },
        // BSD, macOS and busybox speak of the line before without a host or with one.
        None if UNHOSTED.iter().any(|beginning| rest.starts_with(beginning)) => bare,
        None => Parts { host, message: after, ..Parts::default() },
    }
}

/// `tag:`, `tag[pid]:`, `tag[pid]` at the beginning, and the message behind one blank.
///
/// A word without colon and brackets is not a tag: no rule tells it from a host or from the message's first word.
#[inline(always)]
fn tagged(rest: &[u8]) -> Option<Parts<'_>> {
    let end = name_len(rest);
    let (identifier, after) = rest.split_at(end);
    if identifier.is_empty() {
        return None;
    }
    let (pid, after) = match after.split_first()? {
        (b':', after) => (None, after),
        (b'[', after) => {
            let (pid, after) = bracketed(after)?;
            match after.first() {
                Some(b':') => (pid, &after[1..]),
                Some(b' ') | None if pid.is_some() => (pid, after),
                _ => return None,
            }
        }
        _ => return None,
    };
    let message = match after.split_first() {
        None => after,
        Some((b' ', message)) => message,
        // `tag[12]:text` is a tag; `2001:db8::1` is a host, `http://` is text.
        Some(_) if pid.is_some() => after,
        Some(_) => return None,
    };
    Some(Parts { identifier, pid, message, ..Parts::default() })
}

/// What stands before `]`, as a number if it is one, and what follows.
#[inline(always)]
fn bracketed(text: &[u8]) -> Option<(Option<u32>, &[u8])> {
    // Nearly always nine digits at most, which cannot be too much for 32 bits.
    let mut pid = 0;
    for (end, byte) in text.iter().take(10).enumerate() {
        match byte {
            b'0'..=b'9' if end < 9 => pid = pid * 10 + u32::from(byte - b'0'),
            b']' if end > 0 => return Some((Some(pid), &text[end + 1..])),
            _ => break,
        }
    }
    let end = text.iter().take(PID_MAX + 1).position(|&byte| byte == b']' || byte == b' ')?;
    (text[end] == b']' && end > 0).then(|| (number(&text[..end]), &text[end + 1..]))
}

/// How many bytes at the beginning can be a program's name; 0 where they are too many.
#[inline(always)]
fn name_len(text: &[u8]) -> usize {
    text[..text.len().min(TAG_MAX + 1)].iter().position(|&byte| !NAME[usize::from(byte)]).unwrap_or(0)
}

/// Bytes that a program's name can have: no blanks, no controls, none of `:[]`. Five comparisons a byte were a fifth of the line's time.
const NAME: [bool; 256] = {
    let mut name = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        name[byte] =
            byte > 0x20 && byte != 0x7f && byte != b':' as usize && byte != b'[' as usize && byte != b']' as usize;
        byte += 1;
    }
    name
};

/// A field of an RFC 5424 header, empty where it is `-`, and what follows its blank.
fn field(text: &[u8], max: usize) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', &text[..text.len().min(max + 1)]).filter(|&end| end > 0)?;
    Some((nil(&text[..end]), &text[end + 1..]))
}

/// A value, empty where it is `-`.
fn nil(value: &[u8]) -> &[u8] {
    if value == b"-" { b"" } else { value }
}

/// A process id: decimal digits, all of them.
fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    text.iter().try_fold(0u32, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u32::from(byte - b'0')),
        _ => None,
    })
}

/// What follows `-` or `[id name="value"]…`, with its blank. In a value a backslash keeps the next `"`, `\` or `]` from its meaning.
fn after_structured_data(text: &[u8]) -> Option<&[u8]> {
    let mut rest = match text.strip_prefix(b"-") {
        Some(rest) => rest,
        None => after_element(text)?,
    };
    while text[0] == b'[' && rest.first() == Some(&b'[') {
        rest = after_element(rest)?;
    }
    matches!(rest.first(), None | Some(b' ')).then_some(rest)
}

/// What follows one `[id name="value"]`.
fn after_element(text: &[u8]) -> Option<&[u8]> {
    let mut bytes = text.strip_prefix(b"[")?.iter();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                bytes.next()?;
            }
            b']' if !quoted => return Some(bytes.as_slice()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
