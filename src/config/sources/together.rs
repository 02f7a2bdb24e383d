//! What of an `[[input]]`, and of two of them, does not go together.

use inputs::input::Start;
use inputs::syslog::listen::Listen;
use inputs::syslog::parse::Format;

use super::{InputKey, nowhere};
use crate::config::document::{Reader, Table};
use crate::config::input::{Input, Source, Syslog};

/// What two inputs may not have in common, if they have.
pub(super) fn clash(other: &Input, input: &Input) -> Option<(&'static str, String)> {
    let twice = |key, what: &str| Some((key, format!("another input reads {what}; its records would count twice")));
    match (&other.source, &input.source) {
        (Source::File(other), Source::File(file)) if other.path == file.path => twice("path", "this file"),
        (Source::Multilog(other), Source::Multilog(file)) if other.path == file.path => twice("path", "this directory"),
        (Source::Multilog(multilog), Source::File(file)) | (Source::File(file), Source::Multilog(multilog))
            if file.path.parent() == Some(&multilog.path) =>
        {
            twice("path", &format!("files in {}", multilog.path.display()))
        }
        (Source::Journald(other), Source::Journald(one)) if other.directory == one.directory => {
            twice("kind", "this journal")
        }
        (Source::Syslog(other), Source::Syslog(syslog)) if other.collides(syslog) => {
            Some(("listen", "another input listens there".to_owned()))
        }
        _ if other.name == input.name => {
            Some(("name", format!("another input has the name {:?}; names must differ", input.name)))
        }
        _ => None,
    }
}

/// Why a key means nothing for an input, where that is to be said.
pub(super) fn meaningless(input: &Input, key: &InputKey) -> Option<String> {
    let of_kind = format!("for kind = \"{}\"", input.source.kind());
    match (&input.source, key.name, key.except) {
        (Source::File(_) | Source::Multilog(_), "format_regex", _) => Some(
            "for lines without a header: identifier and format = \"message\" say that all of them are the message"
                .to_owned(),
        ),
        (Source::Journald(_), "path" | "format" | "identifier" | "format_regex", _) => {
            Some(of_kind + ": directory names other journals")
        }
        (Source::Multilog(_), "format", _) => Some(of_kind + ", whose lines begin with its labels"),
        (Source::File(_), "identifier", _) => {
            Some("for lines that name their programs, as this format's do".to_owned())
        }
        // What a listener that is wrong would have is not known; without a CA there are no names of it.
        (Source::Syslog(Syslog { listen, .. }), _, Some(_)) if *listen == nowhere() => None,
        (Source::Syslog(Syslog { listen: Listen::Tls(..), .. }), "permitted", _) => None,
        (Source::Syslog(_), _, Some(except)) => Some(except.to_owned()),
        _ => Some(of_kind),
    }
}

/// Reports what of an input does not go together.
pub(super) fn check(reader: &mut Reader<'_>, table: &Table<'_>, input: &Input) {
    if matches!((&input.source, &input.first_read), (Source::File(_) | Source::Multilog(_), Start::Back(_))) {
        let expected = "a file cannot be entered at a time, only a journal can; write \"now\" or \"beginning\"";
        reader.wrong(table, "first_read", expected);
    }
    match &input.source {
        Source::Syslog(syslog) => check_listener(reader, table, syslog),
        Source::File(file) | Source::Multilog(file)
            if file.format == Format::Multilog && file.path.ends_with("current") =>
        {
            let directory = file.path.parent().unwrap_or(&file.path).display();
            let expected = if matches!(input.source, Source::File(_)) {
                format!(
                    "a live multilog is followed by its directory; write kind = \"multilog\" and path = \"{directory}\", without format"
                )
            } else {
                format!("expected the directory that multilog writes, not a file in it: path = \"{directory}\"")
            };
            reader.wrong(table, "path", &expected);
        }
        _ => {}
    }
}

fn check_listener(reader: &mut Reader<'_>, table: &Table<'_>, syslog: &Syslog) {
    let is_tls = matches!(syslog.listen, Listen::Tls(..));
    if is_tls && table.has("permitted") && !table.has("client_ca") {
        let expected = "write the PEM file of the CA that issues certificates of permitted names";
        reader.missing(table, "client_ca", expected);
    }
    // Not `from` itself: a list whose entries are all wrong is reported already. So is a CA.
    if !syslog.is_closed() && table.items("from") == 0 && !(is_tls && table.has("client_ca")) {
        let or = if is_tls {
            "demand certificates of a CA of yours, such as client_ca = \"/etc/denyd/ca.pem\", "
        } else {
            ""
        };
        let expected = format!(
            "whoever can reach it could write log lines, and so decide who is denied; {or}\
             name the senders, such as from = [\"192.0.2.0/24\"], or listen on 127.0.0.1"
        );
        reader.wrong(table, "listen", &expected);
    }
}
