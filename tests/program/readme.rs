//! What the README and `packaging/doc` say: short, with links that lead somewhere, and a screen that is real.

use std::fs;
use std::path::PathBuf;

use kit::{Home, until};

/// Somebody who reads 250 words a minute has five minutes.
const WORDS_MAX: usize = 5 * 250;

/// The README, and what it leads to, each with its path.
fn documents() -> Vec<(PathBuf, String)> {
    let doc = kit::root().join("packaging/doc");
    let all = doc.read_dir().unwrap().map(|entry| entry.unwrap().path());
    all.chain([kit::root().join("README.md")]).map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn the_readme_is_read_in_five_minutes() {
    let (_, text) = documents().pop().unwrap();
    let words = text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
    assert!(words < WORDS_MAX, "{words} words");
}

#[test]
fn its_links_lead_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let found = path.parent().unwrap().join(file);
            assert!(file.is_empty() || found.exists(), "{}: {link}", path.display());
            let heads = text.lines().filter_map(|line| line.strip_prefix("## "));
            let mut heads = heads.map(|head| head.to_lowercase().replace(' ', "-"));
            assert!(place.is_empty() || heads.any(|head| head == place), "{}: {link}", path.display());
        }
    }
}

#[test]
fn each_verb_is_told_of() {
    let (_, names, _) = kit::run(&["describe"], b"");
    let commands = fs::read_to_string(kit::root().join("packaging/doc/commands.md")).unwrap();
    for name in String::from_utf8(names).unwrap().lines() {
        let Some(verb) = name.strip_prefix("denyd-").and_then(|name| name.strip_suffix(".1")) else { continue };
        assert!(commands.contains(&format!("denyd {verb}")), "{verb}");
    }
}

/// A text without its times.
fn timeless(text: &str) -> String {
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d").unwrap();
    time.replace_all(text, "TIME").into_owned()
}

#[test]
fn its_screen_is_real() {
    let readme = fs::read_to_string(kit::root().join("README.md")).unwrap();
    let shown = readme.lines().skip_while(|line| *line != "    $ denyd why 192.0.2.7").skip(1);
    let shown = shown.take_while(|line| line.is_empty() || line.starts_with("    "));
    let shown: Vec<_> = shown.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let home = Home::with_log();
    let now = kit::now();
    let line =
        |n: i64, message: &str| format!("{} web sshd[{n}]: {message}\n", now - jiff::SignedDuration::from_secs(60 - n));
    home.append(
        [
            line(10, "Invalid user oracle from 192.0.2.7 port 40110"),
            line(10, "Failed password for invalid user oracle from 192.0.2.7 port 40110 ssh2"),
            line(20, "Failed password for root from 192.0.2.7 port 40120 ssh2"),
            line(30, "Failed password for root from 192.0.2.7 port 40130 ssh2"),
        ]
        .concat()
        .as_bytes(),
    );
    let daemon = home.start();
    daemon.folded(4);
    until("it is denied", || home.denyd(&["why", "192.0.2.7"]).output().unwrap().status.success().then_some(()));
    until("it is committed", || (!home.history().is_empty()).then_some(()));
    let output = home.denyd(&["why", "192.0.2.7"]).env("TZ", "UTC").output().unwrap();
    assert_eq!(timeless(shown.join("\n").trim_end()), timeless(String::from_utf8(output.stdout).unwrap().trim_end()));
    daemon.stop();
}
