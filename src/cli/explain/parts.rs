//! Which parts of a message are what: the address that is believed, and what a stranger could write.

use std::ops::Range;

use crate::cli::output::Style;
use crate::detect::address;
use crate::intake::Seen;

/// Shapes that end in a stranger's text, behind the address and port.
const STRANGE_END: &[&str] = &["sshd.no_match", "sshd.received_disconnect", "sshd.disconnecting"];
/// Shapes that hold a stranger's text in quotes, before the address.
const STRANGE_QUOTE: &[&str] = &["sshd.bad_protocol"];

/// The message, cut into its parts.
pub(super) fn of<'a>(seen: &Seen<'a>) -> Vec<(&'a [u8], Style)> {
    let message = seen.record.message;
    let mut spans: Vec<_> = [(address_in(seen), Style::Underlined), (user_in(seen), Style::Strange)]
        .into_iter()
        .chain([(text_in(seen), Style::Strange)])
        .filter_map(|(span, style)| Some((span?, style)))
        .collect();
    spans.sort_by_key(|(span, _)| span.start);
    let mut parts = Vec::new();
    let mut at = 0;
    for (span, style) in spans {
        if span.start < at || span.is_empty() {
            continue;
        }
        parts.push((&message[at..span.start], Style::Plain));
        parts.push((&message[span.clone()], style));
        at = span.end;
    }
    parts.push((&message[at..], Style::Plain));
    parts.retain(|(text, _)| !text.is_empty());
    parts
}

/// Where `part`, which is a part of `whole`, lies in it.
pub(super) fn place(part: &[u8], whole: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (start + part.len() <= whole.len()).then_some(start..start + part.len())
}

fn user_in(seen: &Seen<'_>) -> Option<Range<usize>> {
    place(seen.event?.user?, seen.record.message)
}

/// Where the line's own address stands: what reads as that address and is no part of a stranger's text, the last such
/// place, as the grammar reads from the right where it can.
fn address_in(seen: &Seen<'_>) -> Option<Range<usize>> {
    let event = seen.event?;
    let wanted = event.peer.address()?;
    let message = seen.record.message;
    let strange = [user_in(seen), text_in(seen)];
    message.rsplit(|byte| b" []<>()=,;@".contains(byte)).find_map(|word| {
        let start = place(word, message)?.start;
        if strange.iter().flatten().any(|span| span.contains(&start)) {
            return None;
        }
        // `A.` at the end of a sentence, `A:`, and dropbear's `A:PORT`.
        let ends = [Some(word.len()), word.len().checked_sub(1), memchr::memrchr(b':', word)];
        let len = ends.into_iter().flatten().find(|len| address::parse(&word[..*len]) == Some(wanted))?;
        Some(start..start + len)
    })
}

/// What else of the message a stranger wrote.
fn text_in(seen: &Seen<'_>) -> Option<Range<usize>> {
    let message = seen.record.message;
    let rule = seen.event?.rule;
    if STRANGE_END.contains(&rule) {
        let behind = |what: &[u8], from: usize| Some(from + memchr::memmem::find(&message[from..], what)? + what.len());
        let start = behind(b"Their offer: ", 0).or_else(|| behind(b": ", behind(b" port ", 0)?))?;
        let end = message.strip_suffix(b" [preauth]").unwrap_or(message).len();
        return (start < end).then_some(start..end);
    }
    if STRANGE_QUOTE.contains(&rule) {
        let (start, end) = (memchr::memchr(b'\'', message)?, memchr::memrchr(b'\'', message)?);
        return (start < end).then_some(start + 1..end);
    }
    None
}

#[cfg(test)]
mod tests {
    use inputs::record::{SourceId, Timestamp};
    use inputs::syslog::parse::{Format, Parser};

    use super::*;
    use crate::decide::engine::Engine;
    use crate::intake::{Counts, Source, fold};

    /// A message; `want` is the same with `{…}` around what is believed and `<…>` around what a stranger wrote.
    #[track_caller]
    fn check(want: &str) {
        let message = want.replace(['{', '}', '<', '>'], "");
        let batch =
            Parser::new(Format::Message, jiff::tz::TimeZone::UTC).batch(Timestamp::default(), [message.as_bytes()]);
        let mut source = Source::new(SourceId(0), None, "here");
        let (mut engine, mut got) = (Engine::default(), String::new());
        fold(&mut engine, &mut source, &batch, &mut Counts::default(), |seen, _| {
            for (text, style) in of(seen) {
                let text = String::from_utf8_lossy(text);
                got += &match style {
                    Style::Underlined => format!("{{{text}}}"),
                    Style::Strange => format!("<{text}>"),
                    _ => text.into_owned(),
                };
            }
        });
        assert_eq!(got, want);
    }

    #[test]
    fn parts_are_what_the_grammar_took() {
        check("Failed password for <bob> from {192.0.2.7} port 22 ssh2");
        check("Failed password for invalid user <x from 192.0.2.7 port 1> from {192.0.2.7} port 22 ssh2");
        check("Connection closed by invalid user <192.0.2.7> {192.0.2.7} port 22 [preauth]");
        check("drop connection #10 from [{2001:db8::1}]:5 on [2001:db8::2]:22 past MaxStartups");
        check(
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={192.0.2.7}  user=<bob>",
        );
        check("Received disconnect from {192.0.2.7} port 22:11: <192.0.2.7 says bye>");
        check(
            "Unable to negotiate with {192.0.2.7} port 22: no matching cipher found. Their offer: <192.0.2.7> [preauth]",
        );
        check("Bad protocol version identification '<GET 192.0.2.7>' from {192.0.2.7} port 22");
        check("Server listening on 0.0.0.0 port 22.");
    }
}
