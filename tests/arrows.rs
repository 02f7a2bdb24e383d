//! The layers of `src/ARCHITECTURE.md` are what the code does: who may import whom, and that no circle is among the files.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its sources has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each part of the program may import of it, from the top down. Whatever stands in no row may be imported by nobody
/// and imports nothing.
const ALLOWED: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "daemon", "hub", "outbox", "work_dir", "desk", "config", "compat", "deny", "store", "intake", "decide",
            "detect", "whose", "text", "clock",
        ],
    ),
    (
        "daemon",
        &[
            "outbox", "work_dir", "desk", "config", "compat", "deny", "store", "intake", "decide", "detect", "spot",
            "whose", "text", "clock",
        ],
    ),
    ("hub", &["decide", "detect", "xmlrpc", "text", "clock"]),
    ("outbox", &["desk", "config", "deny", "decide", "xmlrpc", "spot", "whose", "text", "clock"]),
    ("work_dir", &["desk", "config", "compat", "deny", "decide", "detect", "spot", "whose", "text", "clock"]),
    ("desk", &["config", "deny", "store", "intake", "decide", "detect", "text", "clock"]),
    ("config", &["compat", "deny", "intake", "decide", "detect", "whose", "text", "clock"]),
    ("compat", &["detect", "text"]),
    ("deny", &["decide", "spot", "text", "clock"]),
    ("store", &["decide", "detect", "whose", "text", "clock"]),
    ("intake", &["decide", "detect", "text", "clock"]),
    ("decide", &["detect"]),
    ("detect", &["text"]),
    ("xmlrpc", &[]),
    ("spot", &["whose"]),
    ("whose", &[]),
    ("text", &[]),
    ("clock", &[]),
];

/// The same for the crate `inputs`.
const INPUTS: &[(&str, &[&str])] = &[
    ("log", &["file", "journald", "syslog", "input", "record", "cursor"]),
    ("multilog", &["file", "syslog", "input", "record", "cursor"]),
    ("journald", &["file", "input", "record", "cursor"]),
    ("file", &["syslog", "input", "record", "cursor"]),
    ("syslog", &["input", "record", "cursor"]),
    ("input", &["record", "cursor"]),
    ("record", &["cursor"]),
    ("cursor", &[]),
];

#[test]
fn arrows_run_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = [("src", ALLOWED), ("inputs/src", INPUTS)].map(|(folder, allowed)| {
        let wrong = wrong_arrows(&read(&root.join(folder)), allowed);
        wrong.iter().map(|wrong| format!("{folder}: {wrong}\n")).collect::<String>()
    });
    assert!(told.iter().all(String::is_empty), "\n{}", told.concat());
}

/// What the test above would say of arrows that are wrong.
#[test]
fn a_wrong_arrow_is_seen() {
    const DOWN: &[(&str, &[&str])] = &[("top", &["below"]), ("below", &[])];
    let check = |files: &[(&str, &str)], want: &[&str]| {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(wrong_arrows(&files, DOWN), want);
    };
    check(&[("top.rs", "use crate::below::{self, Thing};"), ("below.rs", "// use crate::top::Thing;")], &[]);
    check(&[("top.rs", ""), ("below.rs", "fn f() -> crate::top::Thing {}")], &["below.rs imports top"]);
    check(
        &[("top.rs", ""), ("below/mod.rs", ""), ("below/deep.rs", "use super::super::top;")],
        &["below/deep.rs imports top"],
    );
    check(&[("top.rs", ""), ("below.rs", "#[cfg(test)]\nmod tests {\n    use crate::top::Thing;\n}\n")], &[]);
    check(&[("new.rs", "use crate::below;"), ("below.rs", "")], &["new.rs imports below"]);
    let circle =
        [("below/mod.rs", "mod a;"), ("below/a.rs", "use super::b::B;"), ("below/b.rs", "use super::{a::A, c};")];
    check(&circle, &["a circle: below/a.rs, below/b.rs"]);
    // A parent and its child are one thing in two files.
    check(&[("below/mod.rs", "use a::A;"), ("below/a.rs", "use super::B;")], &[]);
}

/// Sources by their path below the folder.
type Files = BTreeMap<String, String>;

fn read(root: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                // Tests stand above everything.
                if !name.ends_with("tests.rs") && !name.contains("/tests/") && name != "lib.rs" {
                    files.insert(name, std::fs::read_to_string(path).unwrap());
                }
            }
        }
    }
    assert!(files.len() > 5, "{} has sources", root.display());
    files
}

/// All that is not allowed, in words.
fn wrong_arrows(files: &Files, allowed: &[(&str, &[&str])]) -> Vec<String> {
    let modules: BTreeMap<Vec<&str>, &str> = files.keys().map(|file| (module(file), file.as_str())).collect();
    let mut wrong = Vec::new();
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, text) in files {
        let here = module(file);
        let may: &[&str] = allowed.iter().find(|(part, _)| *part == here[0]).map_or(&[], |(_, may)| *may);
        for path in paths(&code(text), &here) {
            let part = path[0].as_str();
            let told = format!("{file} imports {part}");
            if part != here[0]
                && modules.keys().any(|module| module[0] == part)
                && !may.contains(&part)
                && !wrong.contains(&told)
            {
                wrong.push(told);
            }
            let of = |len: usize| modules.get(&path[..len].iter().map(String::as_str).collect::<Vec<_>>());
            if let Some(other) = (1..=path.len()).rev().find_map(of)
                && !is_family(&here, &module(other))
            {
                arrows.entry(file).or_default().insert(other);
            }
        }
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        files.keys().map(|file| (file.as_str(), reached_from(file, &arrows))).collect();
    let mut told = BTreeSet::new();
    for (file, others) in &reached {
        let circle: BTreeSet<_> = others.iter().filter(|other| reached[**other].contains(file)).copied().collect();
        if circle.len() > 1 && told.insert(circle.clone()) {
            wrong.push(format!("a circle: {}", circle.into_iter().collect::<Vec<_>>().join(", ")));
        }
    }
    wrong
}

/// All files that `file` imports, and those that these import, and so on.
fn reached_from<'a>(file: &'a str, arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut left = vec![file];
    while let Some(file) = left.pop() {
        left.extend(arrows.get(file).into_iter().flatten().filter(|next| seen.insert(**next)));
    }
    seen
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`.
fn module(file: &str) -> Vec<&str> {
    let path = file.strip_suffix(".rs").unwrap();
    path.strip_suffix("/mod").unwrap_or(path).split('/').collect()
}

/// Whether one is within the other.
fn is_family(a: &[&str], b: &[&str]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// A source without comments and without what is only for tests.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim() == "#[cfg(test)]" {
            // An item ends at the first brace as far to the left as its beginning, or is one line.
            let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#["));
            if item.is_some_and(|item| item.ends_with('{')) {
                let end = format!("{indent}}}");
                let _ = lines.by_ref().find(|line| **line == end);
            }
            continue;
        }
        out.push_str(line.split("//").next().unwrap_or_default());
        out.push('\n');
    }
    out
}

/// Every path of this crate in `code`, from its root: those in `use`, with their braces opened, and those in the text.
fn paths(code: &str, here: &[&str]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let word =
        regex::Regex::new(r"(?-u:\b)(?:crate|super|self)(?:::[a-z_][a-z_0-9]*)*(?:::\{|::[A-Za-z_0-9]+)?").unwrap();
    for found in word.find_iter(code) {
        let mut ends = vec![found.as_str().to_owned()];
        if let Some(stem) = found.as_str().strip_suffix('{') {
            ends = opened(&code[found.end()..]).into_iter().map(|end| format!("{stem}{end}")).collect();
        }
        for path in ends {
            let mut from: Vec<&str> = here.to_vec();
            let mut rest = path.split("::").filter(|part| !part.is_empty()).peekable();
            while let Some(part) = rest.next_if(|part| matches!(*part, "crate" | "super" | "self")) {
                match part {
                    "crate" => from.clear(),
                    "super" => drop(from.pop()),
                    _ => {}
                }
            }
            let full: Vec<String> = from.into_iter().chain(rest).map(str::to_owned).collect();
            if !full.is_empty() {
                all.push(full);
            }
        }
    }
    all
}

/// What stands in braces, up to their end: `a, b::{c, d}}` is `a`, `b::c` and `b::d`.
fn opened(text: &str) -> Vec<String> {
    let mut stems = vec![String::new()];
    let mut all = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        match c {
            '{' => stems.push(format!("{}{}", stems.last().unwrap(), std::mem::take(&mut word))),
            ',' | '}' => {
                if !word.is_empty() {
                    all.push(format!("{}{}", stems.last().unwrap(), std::mem::take(&mut word)));
                }
                if c == '}' {
                    stems.pop();
                    if stems.is_empty() {
                        break;
                    }
                }
            }
            c if c.is_whitespace() => {}
            c => word.push(c),
        }
    }
    all
}
