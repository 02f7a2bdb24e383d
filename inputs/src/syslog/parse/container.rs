//! What container engines write around each line that a program printed.
//!
//! * docker's json-file: `{"log":"…\\n","stream":"stderr","attrs":{…},"time":"2024-01-10T12:00:00.123456789Z"}`.
//! * CRI (Kubernetes, podman's k8s-file): `2024-01-10T12:00:00.123456789Z stdout F …`; `P` where the line goes on.
//! * docker's `syslog` driver: `<30>Nov 21 23:52:48 4f1c0a2b3c4d[812]: …`: the container's id and dockerd's own pid. With
//!   a `tag` it may be `docker/sshbox[812]`, `image/sshbox/4f1c0a2b3c4d[812]`.
//! * `docker compose logs` (2; 1 has `_` for `-`): `sshbox-1  | …`.
//!
//! The engine wrote the stamp; the text is what the one program printed, which nothing escapes, so a stranger whose
//! text it prints can make up whole lines of it. Hence such a record is like one from a program's output in a journal:
//! forgeable. It names no program; that it is sshd's is told by its shape alone, or by the input's `identifier`, or by
//! the header that a syslog daemon in the container wrote. What the engine cut in pieces (16 KiB) is no message: sshd
//! writes nothing so long, and the second piece may begin as a stranger likes. Each piece counts as cut.

use std::ops::Range;

pub(super) use crate::record::is_container_id as is_id;

/// Where in a line of json-file's the text lies, and its stamp, and whether the text ends here.
pub(super) struct Json {
    pub(super) text: Range<usize>,
    pub(super) time: Range<usize>,
    pub(super) is_whole: bool,
}

const LOG: &[u8] = b"{\"log\":\"";
const TIME: &[u8] = b"\"time\":\"";
/// The longest name of a container before its line, in bytes, with the blanks that make the names of all even.
const NAME_MAX: usize = 160;

/// Whether a line begins as json-file's do.
#[inline]
pub(super) fn is_json(line: &[u8]) -> bool {
    line.first() == Some(&b'{') && line.starts_with(LOG)
}

/// Undoes the escapes of a line of json-file's where it is: what was escaped is never shorter.
pub(super) fn unpack(line: &mut [u8]) -> Option<Json> {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n' | b' '))? + 1;
    let end = line[..end].strip_suffix(b"\"}")?.len();
    let begin = memchr::memmem::rfind(&line[..end], TIME)? + TIME.len();
    let (mut from, mut to) = (LOG.len(), LOG.len());
    loop {
        let byte = *line.get(from)?;
        from += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                let escaped = *line.get(from)?;
                from += 1;
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    b'u' => {
                        let digits = std::str::from_utf8(line.get(from..from + 4)?).ok()?;
                        let code = u32::from_str_radix(digits, 16).ok()?;
                        from += 4;
                        let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                        let mut bytes = [0; 4];
                        let bytes = letter.encode_utf8(&mut bytes).as_bytes();
                        line[to..to + bytes.len()].copy_from_slice(bytes);
                        to += bytes.len();
                        continue;
                    }
                    other => other,
                };
                line[to] = byte;
                to += 1;
            }
            byte => {
                line[to] = byte;
                to += 1;
            }
        }
    }
    if from > begin {
        return None;
    }
    let is_whole = to > LOG.len() && line[to - 1] == b'\n';
    Some(Json { text: LOG.len()..to - usize::from(is_whole), time: begin..end, is_whole })
}

/// What CRI has behind the stamp: the text, and whether it ends here.
pub(super) fn cri(rest: &[u8]) -> Option<(&[u8], bool)> {
    cri_text(rest.strip_prefix(b"stdout ").or_else(|| rest.strip_prefix(b"stderr "))?)
}

/// The same of what stands behind the stream's name.
pub(super) fn cri_text(rest: &[u8]) -> Option<(&[u8], bool)> {
    match rest {
        [b'F', b' ', text @ ..] => Some((text, true)),
        [b'P', b' ', text @ ..] => Some((text, false)),
        [b'F'] => Some((b"", true)),
        _ => None,
    }
}

/// What stands behind `NAME-1  | `.
pub(super) fn compose(line: &[u8]) -> Option<&[u8]> {
    let (head, text) = line.split_at(memchr::memmem::find(&line[..line.len().min(NAME_MAX)], b" | ")?);
    let name = head.trim_ascii_end();
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (service, is_numbered) = match name[..name.len() - digits].split_last()? {
        (b'-' | b'_', service) => (service, digits > 0),
        _ => return None,
    };
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    (is_numbered && !service.is_empty() && service.iter().all(is_of_name)).then_some(&text[3..])
}
