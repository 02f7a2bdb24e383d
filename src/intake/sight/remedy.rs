//! What to do about lines that are not understood, by what one of them looks like.

use inputs::journald::printed;
use inputs::record::{Record, Timestamp};
use inputs::syslog::parse::Parser;

use crate::detect::detect;
use crate::detect::rule::Rules;

/// What to do where nothing better is known.
const ANY: &str = "see how it is read: denyd explain 'LINE'; name the input's format, or its identifier where lines have no \
                   header; please report a header that denyd does not know";
/// Words of a header, which stand before the name of a service.
const TAGS: [&[u8]; 4] = [b" sshd[", b" sshd:", b" sshd-session[", b" dropbear["];

/// What to do. `whose`: the program by whose grammar the line was read, in which it may have had a stamp.
pub(super) fn of(line: &[u8], is_stamped: bool, whose: Option<&[u8]>) -> String {
    let fits = |program: &[u8]| {
        let record = Record::of(program, line);
        // A note of one program may be anybody's words.
        detect(&record, &Rules::default()).is_some_and(|event| event.changes_something())
    };
    if whose.is_some() && has_header(line) {
        return "this line has a header of its own: leave `identifier` away (and the format `message`; in a denyhosts.conf \
                SSHD_FORMAT_REGEX); where neither was \
                said, see how it is read: denyd explain 'LINE'"
            .to_owned();
    }
    let other = ["sshd", "dropbear"].into_iter().find(|name| whose != Some(name.as_bytes()) && fits(name.as_bytes()));
    if let Some(name) = other.filter(|_| whose.is_some() || is_stamped) {
        return format!("{name} writes such lines: let `identifier` be {name}");
    }
    if whose.is_some() {
        return ANY.to_owned();
    }
    let form = printed::field(line).or(other.map(|_| "cat"));
    match form {
        Some(form) => {
            let or =
                if form == "cat" { ", or if it is a program's own output let `identifier` be its name" } else { "" };
            format!(
                "this is as `journalctl -o {form}` prints it, which does not say line by line who wrote it when: read the \
                 journal itself (kind = \"journald\"), or print it with -o export (or json, short-iso){or}"
            )
        }
        None => ANY.to_owned(),
    }
}

/// Whether a program's own line has a header: it names the program.
fn has_header(line: &[u8]) -> bool {
    let batch = Parser::default().batch(Timestamp::default(), [line]);
    let is_named = batch.records().any(|record| !record.identifier.is_empty());
    is_named || TAGS.iter().any(|tag| memchr::memmem::find(line, tag).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_line() {
        let check = |whose: Option<&str>, line: &str, want: &str| {
            let said = of(line.as_bytes(), false, whose.map(str::as_bytes));
            assert!(said.contains(want), "{line}: {said}");
        };
        let bare = "Failed password for root from 192.0.2.7 port 22 ssh2";
        let dropbear = "Bad password attempt for 'root' from 192.0.2.7:22";
        let away = "leave `identifier` away";
        check(Some("sshd"), &format!("Nov 21 23:26:32 b sshd[9]: {bare}"), away);
        check(Some("dropbear"), &format!("Nov 21 23:26:32 b sshd[9]: {bare}"), away);
        check(Some("sshd"), &format!("b sshd[9]: {bare}"), away);
        check(Some("sshd"), &format!("2026-11-21T23:26:32Z b sshd-session[9]: {bare}"), away);
        check(Some("dropbear"), bare, "let `identifier` be sshd");
        check(Some("sshd"), dropbear, "let `identifier` be dropbear");
        check(Some("sshd"), "Frobnicated 7", ANY);
        check(None, bare, "`journalctl -o cat`");
        check(None, "_HOSTNAME=b", "`journalctl -o verbose`");
        check(None, "\"MESSAGE\" : \"x\",", "`journalctl -o json-pretty`");
        check(None, "?? b sshd[9] x", ANY);
        assert_eq!(of(bare.as_bytes(), true, None), "sshd writes such lines: let `identifier` be sshd");
    }
}
