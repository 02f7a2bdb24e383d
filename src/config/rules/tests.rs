//! What is said of rules that are wrong, and of directories of them.

use super::rule::add;
use super::*;
use crate::config::Problem;
use crate::detect::rule::RULES_MAX;

/// A rule without fault, in which a test replaces something.
const RIGHT: &str = r#"[[rule]]
name = "ftp.failed"
identifiers = ["ftpd"]
pattern = '^login by (?P<user>.{0,80}) from (?P<addr>[0-9a-f.:]+) failed$'
hit = [{ message = "login by bob from 192.0.2.1 failed", addr = "192.0.2.1", user = "bob" }]
miss = ["login by bob from 192.0.2.1 succeeded"]
"#;

/// What is said of a file, a line each.
fn said(text: &str) -> String {
    let problems = add(&mut Rules::default(), Path::new("ftp.toml"), text);
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// What is said of the right rule with `old` replaced.
#[track_caller]
fn check(old: &str, new: &str, want: &str) {
    assert!(RIGHT.contains(old), "{old}");
    let text = RIGHT.replacen(old, new, 1);
    assert_eq!(said(&text), want, "\n{text}");
}

#[test]
fn a_right_rule_is_taken() {
    check("", "", "");
    check("hit = [{", "event = \"success\"\naccount = \"known\"\nuids = [0, 106]\nhit = [{", "");
    check("failed$'", "failed(?: (?P<times>[0-9]+) times)?$'", "");
    check("'^login", "'(?i)^LOGIN", "");
    check("'^login", "'^(?:login|logon)", "");
    check("[{ message", "[{ times = 1, message", "");
    let tables =
        RIGHT.replace("hit = [{", "[[rule.hit]]\n").replace("\", addr", "\"\naddr").replace(", user", "\nuser");
    let (tables, miss) = tables.rsplit_once("miss = ").unwrap();
    let tables = tables.replace(" }]", "").replace("[[rule.hit]]", &format!("miss = {miss}\n[[rule.hit]]"));
    assert_eq!(said(&tables), "", "\n{tables}");
}

#[test]
fn says_what_is_wrong_with_the_keys() {
    check("[[rule]]", "[rule]", "ftp.toml:1: [rule]: expected tables; write [[rule]], in double brackets, before each");
    check("[[rule]]", "[[rules]]", "ftp.toml:1: unknown key `rules` before the first table; did you mean `rule`?");
    check(
        "pattern",
        "patern",
        "ftp.toml:1: [[rule]] without `pattern`; add the regular expression of the whole message, such as pattern = '^…(?P<addr>[0-9A-Fa-f.:]+)$'\nftp.toml:4: unknown key `patern` in [[rule]]; did you mean `pattern`?",
    );
    check(
        "name = \"ftp.failed\"\n",
        "",
        "ftp.toml:1: [[rule]] without `name`; add what `explain` is to call it, such as name = \"vsftpd.failed\"",
    );
    check(
        "[\"ftpd\"]",
        "\"ftpd\"",
        "ftp.toml:3: [[rule]] identifiers = \"ftpd\": expected a list in brackets, such as [\"a\", \"b\"]",
    );
    check(
        "miss = [\"login by bob from 192.0.2.1 succeeded\"]",
        "miss = []",
        "ftp.toml:6: [[rule]] miss = []: expected at least one",
    );
    check(
        "miss",
        "event = \"fail\"\nmiss",
        "ftp.toml:6: [[rule]] event = \"fail\": expected \"failure\" or \"success\"",
    );
    check(
        "miss",
        "account = \"no\"\nmiss",
        "ftp.toml:6: [[rule]] account = \"no\": expected \"unsaid\", \"unknown\" or \"known\"",
    );
    check(
        "miss",
        "uids = [\"root\"]\nmiss",
        "ftp.toml:6: [[rule]] uids, \"root\": expected a whole number from 0 to 4294967295 (a user id)",
    );
    check("miss", "uids = []\nmiss", "ftp.toml:6: [[rule]] uids = []: expected 1 to 64 user ids, such as [0]");
    check(
        "addr = \"192.0.2.1\"",
        "addr = \"x\"",
        "ftp.toml:5: [[rule.hit]] addr = \"x\": expected the address that is found in the message, such as \"192.0.2.1\"",
    );
    check(
        "addr = \"192.0.2.1\", ",
        "",
        "ftp.toml:5: [[rule.hit]] without `addr`; write { message = \"…\", addr = \"192.0.2.1\", user = \"bob\" }",
    );
    check(
        "addr = \"192",
        "ip = \"192",
        "ftp.toml:5: unknown key `ip` in [[rule.hit]]; known there: message, addr, user, times\nftp.toml:5: [[rule.hit]] without `addr`; write { message = \"…\", addr = \"192.0.2.1\", user = \"bob\" }",
    );
}

#[test]
fn refuses_what_strangers_could_use() {
    let refused = |line: u32, why: &str| format!("ftp.toml:{line}: rule \"ftp.failed\": {why}");
    let start = "the pattern does not begin with ^ (in each alternative), so strangers could write a message of their own around it";
    check("'^login", "'login", &refused(4, start));
    check("'^login", "'(?:^login|logon)", &refused(4, start));
    check("'^login", "'(?m)^login", &refused(4, start));
    check("'^login", "'^?login", &refused(4, start));
    check("'^login", "'(?:^|x)login", &refused(4, start));
    let end = "the pattern does not end in $ (in each alternative), so strangers could write a message of their own around it";
    check("failed$'", "failed'", &refused(4, end));
    check("failed$'", "(?:failed$|denied)'", &refused(4, end));
    check("failed$'", "(?m:failed$)'", &refused(4, end));
    check("failed$'", "failed$?'", &refused(4, end));
    let empty = "the pattern matches the empty message; it must demand something";
    check("'^login by (?P<user>.{0,80}) from (?P<addr>[0-9a-f.:]+) failed$'", "'^(?P<addr>.*)$'", &refused(4, empty));
    let no_addr = "the pattern has no group (?P<addr>…); it says where the address is";
    check("(?P<addr>[0-9a-f.:]+)", "[0-9a-f.:]+", &refused(4, no_addr));
    let group = "the pattern has a group `adr`; those with a meaning are addr (or host), user, times and invalid, others stand in (?:…)";
    check("(?P<addr>", "(?P<adr>", &refused(4, group));
    check("'^login", "'^(login", &refused(4, "the pattern is wrong at its character 2: unclosed group"));
    check(
        "login by (",
        "login \\pL by (",
        &refused(4, "the pattern is wrong at its character 8: Unicode not allowed here"),
    );
    let large = "the pattern is too large when it is compiled; repeat less, such as .{0,100} instead of .{0,1000}";
    check("{0,80}", "{0,900}{1,900}", &refused(4, large));
    check("{0,80}", "{0,9999999}", &refused(4, large));
    check("login by", &"x".repeat(2_000), &refused(4, "the pattern has 2054 bytes; at most 2000 can be"));
    let deep = format!("{}x{}", "(".repeat(60), ")".repeat(60));
    check(
        "login by",
        &deep,
        &refused(
            4,
            "the pattern is wrong at its character 51: exceed the maximum number of nested parentheses/brackets (50)",
        ),
    );
    let ours = "denyd's own records never count, or what it logs of a failure would be one; remove it";
    check("[\"ftpd\"]", "[\"ftpd\", \"denyd\"]", &refused(3, ours));
    let program = "a program's name has 1 to 64 printable characters without blanks, such as \"dovecot\"";
    check("[\"ftpd\"]", "[\"\"]", &refused(3, program));
    check("[\"ftpd\"]", "[\"ft pd\"]", &refused(3, program));
    let name = "a rule's name has 1 to 64 small letters, digits, dots, dashes and underscores";
    check("\"ftp.failed\"", "\"FTP\"", &format!("ftp.toml:2: rule \"FTP\": {name}"));
    check("\"ftp.failed\"", "\"a\\u001b[1m\"", &format!("ftp.toml:2: rule \"a\\u{{1b}}[1m\": {name}"));
    let built_in = "names that begin with `sshd.` or `dropbear.` are those of built-in shapes; choose another";
    check("\"ftp.failed\"", "\"sshd.failed\"", &format!("ftp.toml:2: rule \"sshd.failed\": {built_in}"));
    let taken = "another rule has this name; give each its own, and remove what is there twice";
    assert_eq!(said(&RIGHT.repeat(2)), format!("ftp.toml:8: rule \"ftp.failed\": {taken}"));
}

#[test]
fn refuses_examples_that_do_not_hold() {
    let refused = |line: u32, why: &str| format!("ftp.toml:{line}: rule \"ftp.failed\": {why}");
    check("192.0.2.1 failed\"", "192.0.2.1 failed.\"", &refused(5, "this hit does not match the pattern"));
    let address = "in this hit the pattern finds the address 192.0.2.1, not 192.0.2.2";
    check("addr = \"192.0.2.1\"", "addr = \"192.0.2.2\"", &refused(5, address));
    check("user = \"bob\"", "user = \"eve\"", &refused(5, "in this hit the pattern finds the user `bob`, not `eve`"));
    check(", user = \"bob\"", "", &refused(5, "in this hit the pattern finds the user `bob`, not none"));
    check("user = \"bob\"", "user = \"bob\", times = 2", &refused(5, "in this hit the pattern finds times 1, not 2"));
    check(
        "192.0.2.1 failed\"",
        "dead.beef failed\"",
        &refused(5, "in this hit the pattern finds the address of the host `dead.beef`, not 192.0.2.1"),
    );
    check(
        "192.0.2.1 failed\"",
        "1:2 failed\"",
        &refused(5, "in this hit the pattern finds the address none, not 192.0.2.1"),
    );
    check("succeeded\"", "failed\"", &refused(6, "this miss matches the pattern, which finds the address 192.0.2.1"));
    check(
        "[\"login by bob",
        "[\"x\",\n\"login by bob from 192.0.2.1 failed\", \"login by bob",
        &refused(7, "this miss matches the pattern, which finds the address 192.0.2.1"),
    );
}

#[test]
fn has_limits() {
    let many: String = (0..=RULES_MAX).map(|n| RIGHT.replace("ftp.failed", &format!("r{n}"))).collect();
    let line = 6 * RULES_MAX + 2;
    assert_eq!(said(&many), format!("ftp.toml:{line}: rule \"r500\": there are 500 rules already; remove some"));
    let many = "\"x\", ".repeat(64);
    check(
        "miss = [",
        &format!("miss = [{many}"),
        &format!("ftp.toml:6: [[rule]] miss = [{}…: expected at most 64", &many[..59]),
    );
}

#[test]
fn reads_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let read = || read(dir.path(), &[]).map(|loaded| loaded.to_string()).map_err(|error| error.to_string());
    let path = |name: &str| dir.path().join(name).display().to_string();
    assert_eq!(read().unwrap(), "0 rules in 0 files, all examples hold");
    put("b.toml", RIGHT);
    for other in ["c.toml.bak", ".#c.toml", "README"] {
        put(other, "no rule");
    }
    assert_eq!(read().unwrap(), "1 rule in 1 file, all examples hold");
    put("a.toml", RIGHT);
    let taken = "rule \"ftp.failed\": another rule has this name; give each its own, and remove what is there twice";
    assert_eq!(read().unwrap_err(), format!("{}:2: {taken}", path("b.toml")), "in the order of names");
    put("a.toml", "x = ");
    assert_eq!(read().unwrap_err().lines().count(), 1);
    put("a.toml", &RIGHT.replace("ftp.", "ftp2."));
    assert_eq!(read().unwrap(), "2 rules in 2 files, all examples hold");
    std::fs::create_dir(dir.path().join("d.toml")).unwrap();
    let irregular = "no regular file; remove it, or rename it so that it does not end in .toml";
    assert_eq!(read().unwrap_err(), format!("{}: {irregular}", path("d.toml")));
    std::fs::remove_dir(dir.path().join("d.toml")).unwrap();
    for (name, mode) in [("a.toml", 0o646), ("", 0o757)] {
        let open = if name.is_empty() { dir.path().to_owned() } else { dir.path().join(name) };
        let before = std::fs::metadata(&open).unwrap().permissions();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = format!("everybody may write it, and so decide who is denied; chmod o-w {}", open.display());
        assert_eq!(read().unwrap_err(), format!("{}: {said}", open.display()));
        std::fs::set_permissions(&open, before).unwrap();
    }
    assert_eq!(read().unwrap(), "2 rules in 2 files, all examples hold");
    let missing = super::read(&dir.path().join("none"), &[]).unwrap_err().to_string();
    let cannot = "cannot read this directory of rules (`rules_dir`): No such file or directory (os error 2)";
    assert_eq!(missing, format!("{}: {cannot}", path("none")));
}

/// What an administrator may say of a pattern that does not hold the whole message, and what becomes of it.
#[test]
fn an_unsafe_rule_is_taken_and_forgeable() {
    let taken = |old: &str, new: &str| {
        let mut rules = Rules::default();
        let text = RIGHT.replacen(old, new, 1);
        let problems = add(&mut rules, Path::new("ftp.toml"), &text);
        assert!(problems.is_empty(), "{problems:?}\n{text}");
        let rule = rules.iter().next().unwrap();
        (rule.is_forgeable(), rule.fooled())
    };
    use crate::detect::rule::pattern::Fooled;
    assert_eq!(taken("", ""), (false, None));
    assert_eq!(taken("hit", "unsafe = true\nhit"), (true, None));
    assert_eq!(taken("pattern = '^", "unsafe = true\npattern = '"), (true, Some(Fooled::Start)));
    assert_eq!(taken("pattern = '^", "unsafe = true\npattern = '^"), (true, None));
    // Text without a bound before the address: of any rule.
    assert_eq!(taken(".{0,80}", ".*"), (true, Some(Fooled::Unbounded)));
    assert_eq!(taken(".{0,80}", "[^ ]+"), (true, Some(Fooled::Unbounded)));
    assert_eq!(taken("by (?P<user>.{0,80})", "b.{1,901} (?P<user>bob)"), (true, Some(Fooled::Unbounded)));
    assert_eq!(taken("by (?P<user>.{0,80})", "b.{1,900} (?P<user>bob)"), (false, None));
    assert_eq!(taken("by (", "by\\s+\\d*("), (false, None), "blanks and digits are nobody's");
    assert_eq!(taken("failed$'", "failed.*$'"), (false, None), "what stands behind it does not matter");
    let every = "\"*\", every program, needs unsafe = true, since any of them may log what a stranger wrote; and it stands alone";
    let refused = format!("ftp.toml:3: rule \"ftp.failed\": {every}");
    check("[\"ftpd\"]", "[\"*\"]", &refused);
    check("[\"ftpd\"]", "[\"*\", \"ftpd\"]\nunsafe = true", &refused);
    check("[\"ftpd\"]", "[\"*\"]\nunsafe = true", "");
    let two = "the pattern has both (?P<addr>…) and (?P<host>…), which are the same; keep one";
    check("failed$", "failed(?P<host>x?)$", &format!("ftp.toml:4: rule \"ftp.failed\": {two}"));
    let many: String = (0..=50)
        .map(|n| RIGHT.replace("ftp.failed", &format!("r{n}")).replace("[\"ftpd\"]", "['*']\nunsafe = true"))
        .collect();
    let limit = "there are 50 rules for every program already, each of which costs time of all records; name programs";
    assert_eq!(said(&many), format!("ftp.toml:{}: rule \"r50\": {limit}", 7 * 50 + 3));
}
