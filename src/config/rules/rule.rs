//! The keys of a rule.

use std::net::Ipv4Addr;
use std::path::Path;

use crate::config::codec::{Codec, whole, words, yes};
use crate::config::document::{self, Reader, Table, shorten};
use crate::config::error::Problem;
use crate::config::key::{Key, Listed, Section};
use crate::config::values::any;
use crate::detect::address::{self, Address};
use crate::detect::event::Account;
use crate::detect::rule::{Draft, Happened, Hit, ITEMS_MAX, Part, RULES_MAX, Refusal, Rule, Rules, TIMES_MAX};

/// The tables `[[rule]]`.
fn rule() -> Section<Draft> {
    let events = [("failure", Happened::Failure), ("success", Happened::Success)];
    let accounts = [("unsaid", Account::Unsaid), ("unknown", Account::Unknown), ("known", Account::Known)];
    let uids = whole(0..=u32::MAX, " (a user id)").list();
    let keys = vec![
        Key::new("name", any(), |draft: &mut Draft| Some(&mut draft.name))
            .needs(|_| "add what `explain` is to call it, such as name = \"vsftpd.failed\""),
        Key::new("identifiers", some(any()), |draft: &mut Draft| Some(&mut draft.identifiers))
            .needs(|_| "add the programs that log so, such as identifiers = [\"vsftpd\"]"),
        Key::new("event", words(&events), |draft: &mut Draft| Some(&mut draft.event)),
        Key::new("account", words(&accounts), |draft: &mut Draft| Some(&mut draft.account)),
        Key::new(
            "uids",
            uids.of(1..=ITEMS_MAX, format!("expected 1 to {ITEMS_MAX} user ids, such as [0]")),
            |draft: &mut Draft| Some(&mut draft.uids),
        ),
        Key::new("pattern", any(), |draft: &mut Draft| Some(&mut draft.pattern)).needs(
            |_| "add the regular expression of the whole message, such as pattern = '^…(?P<addr>[0-9A-Fa-f.:]+)$'",
        ),
        Key::new("unsafe", yes().left_out_if(|yes| !yes), |draft: &mut Draft| Some(&mut draft.is_unsafe)),
        Key::new("miss", some(any()).left_out_if(Vec::is_empty), |draft: &mut Draft| Some(&mut draft.misses)),
    ];
    Section { name: "[[rule]]", keys, tables: &["hit"] }
}

/// The tables `[[rule.hit]]`.
fn hit() -> Section<Hit> {
    let expected = "expected the address that is found in the message, such as \"192.0.2.1\"";
    let address =
        Codec::text(move |text| address::parse(text.as_bytes()).ok_or_else(|| expected.to_owned()), Address::to_string);
    let needed = |_: &Hit| "write { message = \"…\", addr = \"192.0.2.1\", user = \"bob\" }";
    let keys = vec![
        Key::new("message", any(), |hit: &mut Hit| Some(&mut hit.message)).needs(needed),
        Key::new("addr", address, |hit: &mut Hit| Some(&mut hit.addr)).needs(needed),
        Key::new("user", any().optional(), |hit: &mut Hit| Some(&mut hit.user)),
        Key::new("times", whole(1..=TIMES_MAX, "").left_out_if(|times| *times == 1), |hit: &mut Hit| {
            Some(&mut hit.times)
        }),
    ];
    Section { name: "[[rule.hit]]", keys, tables: &[] }
}

/// From one of these to as many as a rule may have.
fn some<T: Clone + 'static>(codec: Codec<T>) -> Codec<Vec<T>> {
    codec.list().of(1..=usize::MAX, "expected at least one").of(0..=ITEMS_MAX, format!("expected at most {ITEMS_MAX}"))
}

/// Whether a rule must bring examples.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Examples {
    Needed,
    Optional,
}

/// The tables of rules, and their keys.
pub(in crate::config) fn listed() -> [Listed; 2] {
    [rule().listed(), hit().listed()]
}

/// Adds the rules of a file's text; returns what is wrong with it.
pub(super) fn add(rules: &mut Rules, file: &Path, text: &str) -> Vec<Problem> {
    let top = Section::<Draft> { name: "", keys: Vec::new(), tables: &["rule"] }.listed();
    let tables = [top].into_iter().chain(listed()).collect();
    document::read(file, text, tables, |reader, top| add_all(reader, top, Examples::Needed, rules)).1
}

/// The rules that stand in the configuration itself; each is right by itself, and beside the others.
pub(in crate::config) fn here(reader: &mut Reader<'_>, top: &Table<'_>) -> Vec<Draft> {
    add_all(reader, top, Examples::Optional, &mut Rules::default())
}

/// A rule, as a file would say it.
pub(in crate::config) fn write(draft: &Draft) -> String {
    let mut text = rule().write(&mut draft.clone());
    for one in &draft.hits {
        text += "\n";
        text += &hit().write(&mut one.clone());
    }
    text
}

/// Adds the rules of a file, and returns as they are written those that are right.
fn add_all(reader: &mut Reader<'_>, top: &Table<'_>, examples: Examples, rules: &mut Rules) -> Vec<Draft> {
    let mut added = Vec::new();
    for table in reader.tables(top, "rule", "[[rule]]") {
        let before = reader.count();
        let draft = draft(reader, &table, examples);
        if reader.count() > before {
            continue;
        }
        let name = shorten(&draft.name);
        let mut refuse = |part, refusal: Refusal| {
            let (key, item) = match part {
                Part::Name => ("name", None),
                Part::Identifier(index) => ("identifiers", Some(index)),
                Part::Pattern => ("pattern", None),
                Part::Hit(index) => ("hit", Some(index)),
                Part::Miss(index) => ("miss", Some(index)),
            };
            reader.problem_at(&table, key, item, format!("rule \"{name}\": {refusal}"));
        };
        if rules.iter().len() >= RULES_MAX {
            refuse(Part::Name, Refusal::TooMany);
            break;
        }
        match Rule::compile(draft.clone()).and_then(|rule| rules.add(rule)) {
            Ok(()) => added.push(draft),
            Err((part, refusal)) => refuse(part, refusal),
        }
    }
    added
}

fn draft(reader: &mut Reader<'_>, table: &Table<'_>, examples: Examples) -> Draft {
    let mut draft = Draft { uids: vec![0], ..Draft::default() };
    reader.fill_all(table, &rule(), &mut draft);
    if examples == Examples::Needed && !table.has("miss") {
        reader.missing(table, "miss", "add messages that it must not match, such as miss = [\"…\"]");
    }
    match table.items("hit") {
        _ if !table.has("hit") && examples == Examples::Optional => {}
        _ if !table.has("hit") => {
            let expected = "add messages that it must match, such as hit = [{ message = \"…\", addr = \"192.0.2.1\" }]";
            reader.missing(table, "hit", expected);
        }
        0 => reader.wrong(table, "hit", "expected at least one"),
        1..=ITEMS_MAX => {}
        _ => reader.wrong(table, "hit", &format!("expected at most {ITEMS_MAX}")),
    }
    for one in reader.tables(table, "hit", "[[rule.hit]]") {
        let unset = Address::from(Ipv4Addr::UNSPECIFIED);
        let mut found = Hit { message: String::new(), addr: unset, user: None, times: 1 };
        reader.fill_all(&one, &hit(), &mut found);
        draft.hits.push(found);
    }
    draft
}
