//! The keys of the file, table by table, and the files that they name.

use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

use super::error::{ConfigError, Problem, What};
use super::table::{Keys, PROBLEMS_MAX, Reader, TABLES, Table, shorten};
use super::{Backend, Backends, Config, Decide, Deny, input, values};
use crate::decide::allow::AllowList;
use crate::decide::policy::{Class, Policy};
use crate::deny::{hosts_deny, nft};

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 4 * 1024 * 1024;

pub(super) fn read(file: &Path) -> Result<Config, ConfigError> {
    parse(file, &text(file)?)
}

/// The text of a file.
pub(super) fn text(file: &Path) -> Result<String, ConfigError> {
    let bytes = contents(file).map_err(|cause| ConfigError::Unreadable { file: file.to_owned(), cause })?;
    String::from_utf8(bytes).map_err(|bad| {
        let (right, bytes) = (bad.utf8_error().valid_up_to(), bad.as_bytes());
        let line = 1 + bytes[..right].iter().filter(|&&byte| byte == b'\n').count();
        let what = What::Syntax("not UTF-8 text; save the file as UTF-8".to_owned());
        ConfigError::Wrong(vec![Problem { file: file.to_owned(), line, what }])
    })
}

/// Reads the text of the configuration `file`, and the files that it names.
pub(super) fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let (found, problems) = document(file, text, &TABLES, config);
    found.filter(|_| problems.is_empty()).ok_or(ConfigError::Wrong(problems))
}

/// What `take` makes of the text of `file`, if that is TOML, and all its problems.
pub(super) fn document<T>(
    file: &Path,
    text: &str,
    tables: &'static [Keys],
    take: impl for<'b> FnOnce(&mut Reader<'b>, &'b DeTable<'b>) -> T,
) -> (Option<T>, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(file, text, tables);
    if errors.is_empty() {
        let taken = take(&mut reader, document.get_ref());
        return (Some(taken), reader.problems());
    }
    // What stands behind a mistake of syntax may mean anything: no word on keys before it is mended.
    for error in errors.into_iter().take(PROBLEMS_MAX) {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.lines().nth(reader.line(at) - 1).unwrap_or_default();
        reader.problem(at, What::Syntax(syntax(line, error.message())));
    }
    let mut problems = reader.problems();
    problems.dedup_by_key(|problem| problem.line);
    (None, problems)
}

/// The parser's message in an administrator's words, where we know what is meant.
fn syntax(line: &str, message: &str) -> String {
    let unquoted = ["quoted", "invalid float", "invalid number", "invalid boolean", "leading zero"];
    let meaning = if unquoted.iter().any(|part| message.contains(part)) {
        "texts, durations and addresses stand in quotes, such as deny_for = \"7d\"; true and false are small letters"
    } else if message == "duplicate key" {
        "this stands in the file already; keep one"
    } else {
        message
    };
    format!("not TOML: {}: {meaning}", shorten(line.trim()))
}

fn config<'a>(reader: &mut Reader<'a>, document: &'a DeTable<'a>) -> Config {
    let top = reader.top(document);
    let default = Config::default();
    let control_socket = reader.value(&top, "control_socket", default.control_socket, values::socket_path);
    Config {
        state_dir: reader.value(&top, "state_dir", default.state_dir, values::path),
        log_level: reader.value(&top, "log_level", default.log_level, values::log_level),
        rules_dir: reader.value(&top, "rules_dir", default.rules_dir, values::path),
        decide: decide(reader, &top),
        deny: deny(reader, &top),
        inputs: input::read(reader, &top, &control_socket),
        control_socket,
    }
}

fn decide<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Decide {
    let table = reader.table(top, "decide", "[decide]");
    let mut policy = Policy::default();
    for class in Class::ALL {
        let (threshold, age) = (&mut policy.thresholds[class as usize], &mut policy.age_reset[class as usize]);
        *threshold = reader.value(&table, &format!("threshold_{}", class.name()), *threshold, values::threshold);
        let never = |value| values::duration_unless(value, "never");
        *age = reader.value(&table, &format!("age_reset_{}", class.name()), *age, never);
    }
    policy.reset_on_success = reader.value(&table, "reset_on_success", policy.reset_on_success, values::yes);
    let forever = |value| values::duration_unless(value, "forever");
    policy.deny_for = reader.value(&table, "deny_for", policy.deny_for, forever);
    policy.permanent_after = reader.value(&table, "permanent_after", policy.permanent_after, values::permanent_after);
    policy.ipv4_bits = reader.value(&table, "ipv4_prefix", policy.ipv4_bits, |value| values::bits(value, 8..=32));
    policy.ipv6_bits = reader.value(&table, "ipv6_prefix", policy.ipv6_bits, |value| values::bits(value, 32..=128));
    policy.replay_max_age = reader.value(&table, "replay_max_age", policy.replay_max_age, values::duration);

    let restricted_users = reader.list(&table, "restricted_users", values::user).unwrap_or_default();
    policy.restricted = restricted_users.iter().map(|name| name.clone().into_bytes()).collect();
    let restricted_users_file = reader.optional(&table, "restricted_users_file", values::path);
    if let Some(file) = &restricted_users_file {
        policy.restricted.extend(users_of(reader, &table, file));
    }

    // Each entry on its own for its message and line, then all at once: a list merges whenever one is added.
    let entry = |value| {
        let text = values::text(value)?;
        AllowList::of([text].into_iter()).map(|_| text.to_owned()).map_err(|bad| bad.problem.to_string())
    };
    let allow = reader.list(&table, "allow", entry).unwrap_or_default();
    match AllowList::of(allow.iter().map(String::as_str)) {
        Ok(list) => policy.allow = list,
        Err(full) => reader.wrong(&table, "allow", full.problem.to_string()),
    }
    let allow_file = reader.optional(&table, "allow_file", values::path);
    if let Some(file) = &allow_file {
        let more = allowed_of(reader, &table, file);
        if let Err(full) = policy.allow.extend(&more) {
            reader.wrong(&table, "allow_file", full.problem.to_string());
        }
    }
    Decide { policy, restricted_users, restricted_users_file, allow, allow_file }
}

fn deny<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Deny {
    let table = reader.table(top, "deny", "[deny]");
    let backends = backends(reader, &table);
    let default = nft::Settings::default();
    let nftables = reader.table(&table, "nftables", "[deny.nftables]");
    let nftables = nft::Settings { table: reader.value(&nftables, "table", default.table, values::nft_table) };
    let default = hosts_deny::Settings::default();
    let hosts_deny = reader.table(&table, "hosts_deny", "[deny.hosts_deny]");
    let hosts_deny = hosts_deny::Settings {
        path: reader.value(&hosts_deny, "path", default.path, values::path),
        service: reader.value(&hosts_deny, "service", default.service, values::service),
        comment: reader.value(&hosts_deny, "comment", default.comment, values::yes),
    };
    Deny { backends, nftables, hosts_deny }
}

fn backends<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Backends {
    let choices = [
        ("auto", None),
        ("nftables", Some(Backend::Nftables)),
        ("hosts.deny", Some(Backend::HostsDeny)),
        ("stdout", Some(Backend::Stdout)),
    ];
    let Some(given) = reader.list(table, "backends", |value| values::one_of(value, &choices)) else {
        return Backends::Auto;
    };
    if !table.has_items("backends") {
        let expected = "expected at least one; to enforce nothing, start the daemon with --dry-run";
        reader.wrong(table, "backends", expected.to_owned());
    }
    if given.contains(&None) && given.len() > 1 {
        reader.wrong(table, "backends", "\"auto\" stands alone: it chooses the others itself".to_owned());
    }
    let these: Vec<Backend> = given.into_iter().flatten().collect();
    if (1..these.len()).any(|index| these[..index].contains(&these[index])) {
        reader.wrong(table, "backends", "expected each back end once".to_owned());
    }
    if these.is_empty() { Backends::Auto } else { Backends::These(these) }
}

/// The names in the file of restricted users: one a line, `#` begins a comment line, blank lines mean nothing.
fn users_of<'a>(reader: &mut Reader<'a>, table: &Table<'a>, file: &Path) -> Vec<Vec<u8>> {
    let Some(bytes) = named(reader, table, "restricted_users_file", file) else { return Vec::new() };
    let mut names = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let name = line.trim_ascii();
        if name.is_empty() || name.starts_with(b"#") {
            continue;
        }
        if values::is_user(name) {
            names.push(name.to_owned());
        } else {
            let shown = format!("`{}`", shorten(&String::from_utf8_lossy(name)));
            reader.problem_elsewhere(file, index + 1, What::UserName(shown));
        }
    }
    names
}

fn allowed_of<'a>(reader: &mut Reader<'a>, table: &Table<'a>, file: &Path) -> AllowList {
    let Some(bytes) = named(reader, table, "allow_file", file) else { return AllowList::default() };
    let (list, bad) = AllowList::read(&bytes);
    for line in bad {
        reader.problem_elsewhere(file, line.line, line.bad.into());
    }
    list
}

/// The contents of the file that `key` names.
fn named<'a>(reader: &mut Reader<'a>, table: &Table<'a>, key: &str, file: &Path) -> Option<Vec<u8>> {
    match contents(file) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            reader.wrong(table, key, format!("cannot read this file: {error}"));
            None
        }
    }
}

fn contents(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::other(format!("larger than {} MiB", FILE_MAX / (1024 * 1024))));
    }
    Ok(bytes)
}
