//! Says what is what in a line or frame.
//!
//! Promises never to fail, to allocate nothing on the two layouts that files have (RFC 3164's and the same with
//! an RFC 3339 stamp), and to leave the message's bytes as they are: what has no known header is all message.
//!
//! It believes nothing: any program can write any tag.

mod container;
mod dialect;
mod framing;
mod odd;
mod rfc5424;
mod stamp;
mod tag;
mod words;

use crate::record::{Batch, Parts, SourceId, Timestamp};
use stamp::Stamps;
use tag::{host_and_tag, name_len, tagged};

pub use framing::{Framing, MESSAGE};

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
    /// Where sshd's message is in a line that names no program in a way that is known.
    framing: Option<Framing>,
    stamps: Stamps,
    beginning: Option<Beginning>,
    /// The last host that stood behind a plain stamp, and its blank; nothing if there was none. Most lines have the same.
    host: Vec<u8>,
    /// A container's last line was a piece, and the next one goes on with it.
    goes_on: bool,
}

/// How the last line of RFC 3164's layout began: `Mon dd hh:mm:ss host `. Most lines are of the same second and host as the
/// one before, so that one comparison stands for the look at both.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Beginning {
    text: Vec<u8>,
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
        Parser {
            format,
            unwrap: false,
            bare,
            framing: None,
            stamps: Stamps::new(zone),
            beginning: None,
            host: Vec::new(),
            goes_on: false,
        }
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

    /// Says where sshd's message is in lines whose header names no program. A line whose header does is read by that: so no
    /// framing makes another program's line one of sshd's.
    pub fn frame(&mut self, framing: Option<Framing>) {
        self.framing = framing;
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
            if container::is_json(line) && matches!(self.format, Format::Auto) {
                return self.json(line, reference);
            }
            let line = without_end(line);
            let mut header = match self.like_the_last(line, reference) {
                Some(header) => header,
                None => self.header(line, reference).unwrap_or(Parts { message: line, ..Parts::default() }),
            };
            if container::is_id(header.identifier) {
                header = Parts { identifier: b"", pid: None, stdout: true, ..header };
            }
            if let Some(framing) = self.framing.as_ref().filter(|_| header.identifier.is_empty() && !header.stdout)
                && let Some(message) = framing.message(line)
            {
                // What a stranger may have written around it makes it as forgeable as what a program prints.
                header = Parts { message, is_framed: true, stdout: !framing.is_sound(), ..header };
            }
            Parts { message: header.message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header.message), ..header }
        });
    }

    #[inline(always)]
    fn header<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        if self.bare.is_some() {
            return Some(self.output(line, reference));
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

    /// A line of docker's json-file.
    #[cold]
    fn json<'a>(&mut self, line: &'a mut [u8], reference: Timestamp) -> Parts<'a> {
        let Some(json) = container::unpack(line) else {
            self.goes_on = true;
            return Parts { message: line, stdout: true, is_piece: true, ..Parts::default() };
        };
        let line = &*line;
        let event = self.stamps.rfc3339(&line[json.time]).map(|(event, _)| event);
        Parts { event, ..self.printed(&line[json.text], json.is_whole, reference) }
    }

    /// What a program in a container printed; nothing of a piece. A syslog daemon there prints what others sent it.
    fn printed<'a>(&mut self, text: &'a [u8], is_whole: bool, reference: Timestamp) -> Parts<'a> {
        let is_piece = !is_whole || self.goes_on;
        self.goes_on = !is_whole;
        let message = if is_piece { b"" } else { without_end(text) };
        let header = if self.bare.is_some() { None } else { self.syslog(message, reference) };
        let header = header.filter(|header| !header.identifier.is_empty() && !container::is_id(header.identifier));
        Parts { stdout: true, is_piece, ..header.unwrap_or(Parts { message, ..Parts::default() }) }
    }

    /// A line of one program's own output, with what a logger put before it. See [`odd`] for who puts what.
    fn output<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Parts<'a> {
        let label = if self.format == Format::Message { None } else { labelled(line) };
        let (event, text) = label.map_or((None, line), |(event, text)| (Some(event), text));
        let bare = Parts { event, labelled: label.is_some(), message: text, ..Parts::default() };
        let stamped = match text.first() {
            Some(b'0'..=b'9') if self.format == Format::Auto => odd::before_output(text, &mut self.stamps),
            _ => None,
        };
        let Some((pid, second, message)) = stamped else { return bare };
        let event = event.or(Some(second));
        match container::cri(message) {
            Some((text, is_whole)) => Parts { event, ..self.printed(text, is_whole, reference) },
            None => Parts { event, pid, message, ..bare },
        }
    }

    /// metalog or syslog: a host does not begin with a bracket, so they cannot be confused.
    #[inline(always)]
    fn plain<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let header = match line.get(16) {
            Some(b'[') => self.metalog(line, reference).or_else(|| self.syslog(line, reference)),
            _ => self.syslog(line, reference),
        };
        match header {
            Some(header) if header.identifier.is_empty() => Some(self.unnamed(header, reference)),
            Some(header) => Some(header),
            None => self.framed(line, reference),
        }
    }

    /// A line without a program's name, which may be a container's: `stdout F …`.
    #[cold]
    fn unnamed<'a>(&mut self, header: Parts<'a>, reference: Timestamp) -> Parts<'a> {
        let text = matches!(header.host, b"stdout" | b"stderr").then(|| container::cri_text(header.message));
        match text.flatten() {
            Some((text, is_whole)) => Parts { event: header.event, ..self.printed(text, is_whole, reference) },
            None => header,
        }
    }

    /// A frame as it was sent, in a file: `123 <38>1 …`; RFC 5424 without its priority: `1 2026-…`; or a container's
    /// line.
    #[cold]
    fn framed<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        if let Some(text) = container::compose(line) {
            return Some(self.printed(text, true, reference));
        }
        let digits = line.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
        let rest = line[digits..].strip_prefix(b" ").filter(|_| digits > 0)?;
        let header = if rest.starts_with(b"<") {
            self.syslog(rest, reference)
        } else {
            rfc5424::header(line.strip_prefix(b"1 ")?, &mut self.stamps).filter(|header| header.event.is_some())
        };
        header.filter(|header| !header.identifier.is_empty())
    }

    fn metalog<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let (event, len) = self.stamps.traditional(line, reference)?;
        let rest = line[len..].strip_prefix(b" [")?;
        let end = name_len(rest);
        // `[192.0.2.50] sshd[1]: …` has a host there.
        if words::is_no_program(&rest[..end]) {
            return None;
        }
        let message = match rest.get(end..)? {
            [b']', b' ', message @ ..] if end > 0 => message,
            [b']'] if end > 0 => b"",
            _ => return None,
        };
        Some(Parts { event: Some(event), identifier: &rest[..end], message, ..Parts::default() })
    }

    #[inline(always)]
    fn syslog<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let Some((b'<', _)) = line.split_first() else { return self.stamped(line, reference) };
        let rest = after_priority(line)?;
        match rest.strip_prefix(b"1 ") {
            Some(rest) => rfc5424::header(rest, &mut self.stamps),
            // A sender without a clock: RFC 3164, section 4.3.3.
            None => {
                let header = self.like_the_last(rest, reference).or_else(|| self.stamped(rest, reference));
                header.or_else(|| words::tag(rest))
            }
        }
    }

    /// A line that begins as the last one did.
    #[inline(always)]
    fn like_the_last<'a>(&self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let last = self.beginning.as_ref().filter(|last| last.reference == reference)?;
        let header = named(line.strip_prefix(&last.text[..])?)?;
        Some(Parts { event: Some(last.event), host: &line[STAMP_LEN..last.text.len() - 1], ..header })
    }

    /// What stands behind a stamp, if that is the last host and a tag.
    #[inline(always)]
    fn of_the_last_host<'a>(&self, rest: &'a [u8]) -> Option<Parts<'a>> {
        let host = self.host.len().checked_sub(1)?;
        let header = named(rest.strip_prefix(&self.host[..])?)?;
        Some(Parts { host: &rest[..host], ..header })
    }

    /// A stamp, then a host or none, then a tag or none.
    fn stamped<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let stamp = match line.first()? {
            b'0'..=b'9' => self.stamps.rfc3339(line),
            _ => self.stamps.traditional(line, reference),
        };
        let Some((event, rest)) = stamp.and_then(|(event, len)| Some((event, line[len..].strip_prefix(b" ")?))) else {
            return self.oddly(line, reference).or_else(|| self.in_dialect(line, reference));
        };
        let header = match self.of_the_last_host(rest) {
            Some(header) => Parts { event: Some(event), ..header },
            None => {
                let header = Parts { event: Some(event), ..host_and_tag(rest) };
                let is_program = header.pid.is_some() || words::is_name(header.identifier);
                if header.identifier.is_empty() || !is_program || words::is_no_plain_host(header.host) {
                    return self.oddly(line, reference).or(Some(header));
                }
                // What ends at its blank alone, whatever stands behind it.
                if !header.host.is_empty() && name_len(rest) == header.host.len() {
                    self.host.clear();
                    self.host.extend_from_slice(&rest[..=header.host.len()]);
                }
                header
            }
        };
        // Without a priority before it `[` would begin metalog's program.
        if line.len() - rest.len() == STAMP_LEN && !(header.host.is_empty() || self.unwrap || rest.starts_with(b"[")) {
            let mut text = self.beginning.take().map_or_else(Vec::new, |last| last.text);
            text.clear();
            text.extend_from_slice(&line[..STAMP_LEN + header.host.len() + 1]);
            self.beginning = Some(Beginning { text, event, reference });
        }
        Some(header)
    }

    /// What the plain way did not understand, or took for something else.
    #[cold]
    #[inline(never)]
    fn oddly<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let line = odd::blanks(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line));
        let (host, (event, rest)) = match self.odd_stamp(line, reference) {
            Some(stamp) => (&b""[..], stamp),
            None => words::led(line).and_then(|(host, rest)| Some((host, self.odd_stamp(rest, reference)?)))?,
        };
        let header = words::read(rest, reference, &mut self.stamps)?;
        Some(Parts { event, host: if header.host.is_empty() { host } else { header.host }, ..header })
    }

    /// A stamp at the beginning of a line, or behind the level that socklog puts before it.
    fn odd_stamp<'a>(&mut self, line: &'a [u8], reference: Timestamp) -> Option<(Option<Timestamp>, &'a [u8])> {
        let line = match memchr::memchr(b' ', &line[..line.len().min(words::LEVEL_MAX)]) {
            Some(end) if words::is_level(&line[..end]) => odd::blanks(&line[end..]),
            _ => line,
        };
        odd::stamp(line, reference, &self.stamps).or_else(|| {
            let (event, len) = self.stamps.rfc3339(line)?;
            Some((Some(event), odd::after_blank(&line[len..])?))
        })
    }

    #[cold]
    fn in_dialect<'a>(&self, line: &'a [u8], reference: Timestamp) -> Option<Parts<'a>> {
        let (event, rest) = dialect::stamp(line, reference, &self.stamps)?;
        Some(Parts { event: Some(event), ..host_and_tag(rest) })
    }
}

/// A tag that is a program's.
#[inline(always)]
fn named(text: &[u8]) -> Option<Parts<'_>> {
    tagged(text).filter(|header| header.pid.is_some() || words::is_name(header.identifier))
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

#[cfg(test)]
mod tests;
