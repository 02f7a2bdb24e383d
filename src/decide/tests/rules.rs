//! What administrators' rules know, on its way through fold and sessions.

use std::sync::Arc;

use inputs::record::{Batch, Sender, SourceId};

use super::{RECEIVED, World, parser};
use crate::decide::policy::Policy;
use crate::detect::rule::{Draft, Happened, Rule, Rules};
use crate::intake::fold;

/// A world whose sources know a rule, and two lines of it.
fn with_rule() -> (World, &'static str, &'static str) {
    let rule = |event, pattern: &str| {
        let draft = Draft {
            name: format!("imap.{event:?}").to_lowercase(),
            identifiers: vec!["imapd".to_owned()],
            event,
            uids: vec![0, 7],
            pattern: pattern.to_owned(),
            ..Draft::default()
        };
        Rule::compile(draft).unwrap()
    };
    let mut rules = Rules::default();
    let failed = "^(?P<user>.*) from (?P<addr>[0-9.:]+) failed(?: (?P<times>[0-9]+) times)?$";
    rules.add(rule(Happened::Failure, failed)).unwrap();
    rules.add(rule(Happened::Success, "^(?P<user>.*) from (?P<addr>[0-9.:]+) ok$")).unwrap();
    let mut world = World::new(Policy::default());
    let rules = Arc::new(rules);
    for source in &mut world.sources {
        source.rules = Arc::clone(&rules);
    }
    let failed = "Nov 20 10:00:00 mail imapd[7]: bob from 192.0.2.7 failed\n";
    (world, failed, "Nov 20 10:00:00 mail imapd[7]: bob from 192.0.2.7 ok\n")
}

#[test]
fn what_a_rule_knows_is_not_joined_by_its_process() {
    let (mut world, failed, _) = with_rule();
    assert_eq!(world.lines(0, &failed.repeat(5)), "1 1 1 1 1", "one peer, five times in a second");
    assert_eq!(world.lines(1, &failed.repeat(5)), "0 0 0 0 0", "by another way");
    assert_eq!(world.lines(1, failed), "1", "once more there than here");
    assert_eq!(world.lines(0, &failed.replace("bob", "eve")), "1");
    assert_eq!(world.lines(0, &failed.replace(".7 ", ".8 ")), "1", "another peer of the same process");
    assert_eq!(world.lines(0, &failed.replace("failed", "failed 4 times")), "3", "of which the other way told one");
    assert_eq!(world.lines(0, &failed.replace("failed", "failed 4000000000 times")), "1000");
    // A way that is minutes late is still another way, and one failure an hour is one.
    let (mut world, failed, _) = with_rule();
    let at = |time: &str| failed.replace("10:00:00", time);
    assert_eq!(world.lines(0, &(at("10:00:00") + &at("10:10:00"))), "1 1");
    assert_eq!(world.lines(1, &(at("10:00:00") + &at("10:10:00"))), "0 0");
    assert_eq!(world.lines(0, &(at("11:00:00") + &at("12:00:00"))), "1 1");
    assert_eq!(world.failures("192.0.2.7"), 4);
}

#[test]
fn a_syslog_daemon_may_fold_what_a_rule_knows() {
    let (mut world, failed, _) = with_rule();
    let folded = "Nov 20 10:00:00 mail imapd[7]: message repeated 3 times: [ bob from 192.0.2.7 failed]";
    assert_eq!(world.lines(0, &format!("{failed}{folded}")), "1 3");
    let bsd = format!("{failed}Nov 20 10:00:09 mail last message repeated 2 times");
    assert_eq!(world.lines(0, &bsd), "1 2");
    let imitated = "Nov 20 10:00:00 mail imapd[7]: message repeated 9 times: [ x] from 192.0.2.7 failed";
    assert_eq!(world.lines(0, imitated), "1");
}

#[test]
fn each_login_that_a_rule_knows_is_one() {
    let (mut world, _, login) = with_rule();
    world.lines(0, &login.repeat(3));
    assert_eq!((world.counts.successes, world.counts.ignored), (3, 0));
    world.lines(1, &login.repeat(3));
    assert_eq!((world.counts.successes, world.counts.ignored), (3, 3), "by another way");
}

#[test]
fn a_failure_elsewhere_hides_no_line_of_pam() {
    let pam = "Nov 20 10:00:05 mail sshd[9]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root";
    let (mut world, failed, _) = with_rule();
    world.lines(0, &format!("{failed}{pam}"));
    assert_eq!(world.failures("192.0.2.7"), 2);
}

#[test]
fn who_may_write_what_a_rule_knows() {
    let write = |uid: u32, our_pid: Option<u32>, line: &str| {
        let (mut world, ..) = with_rule();
        world.sources[0].our_pid = our_pid;
        world.sources[0].trusted_uid = Some(104);
        let mut batch = parser().batch(RECEIVED, [line.as_bytes()]);
        batch.senders = vec![Sender::Uid(uid)];
        fold(&mut world.engine, &mut world.sources[0], &batch, &mut world.counts, |_, _| ());
        (world.counts.attempts, world.counts.forged)
    };
    let (_, failed, _) = with_rule();
    let (failed, sshd) =
        (failed.trim(), "Nov 20 10:00:00 mail sshd[7]: Failed password for bob from 192.0.2.7 port 22 ssh2");
    assert_eq!(write(0, None, failed), (1, 0));
    assert_eq!(write(7, None, failed), (1, 0), "whom the rule names");
    assert_eq!(write(104, None, failed), (1, 0), "the log daemon, which the input names");
    assert_eq!(write(104, None, sshd), (1, 0), "and of whomever it tells");
    assert_eq!(write(8, None, failed), (0, 1));
    assert_eq!(write(7, None, sshd), (0, 1), "no rule lets anybody write for sshd");
    // Ourselves, whatever the name under which.
    let here = failed.replace(" mail ", " here ");
    assert_eq!(write(0, Some(7), &here), (0, 0));
    assert_eq!(write(0, Some(8), &here), (1, 0));
    assert_eq!(write(0, Some(7), failed), (1, 0), "another host's process of that number");
}

#[test]
fn a_rule_is_asked_last_and_of_nothing_that_was_cut() {
    let (mut world, failed, _) = with_rule();
    assert_eq!(world.lines(0, &failed.replace("imapd[", "imap[")), "0");
    let mut batch = Batch::new(SourceId(0), RECEIVED);
    batch.add(failed.trim().as_bytes(), 0, true);
    parser().parse(&mut batch);
    fold(&mut world.engine, &mut world.sources[0], &batch, &mut world.counts, |_, _| ());
    assert_eq!(world.counts.attempts, 0);
    // sshd's own grammar goes first; what it does not know may be a rule's.
    let draft = Draft {
        name: "mine".to_owned(),
        identifiers: vec!["sshd".to_owned()],
        pattern: "^(?:Failed password|Rejected) for (?P<user>.*) from (?P<addr>[0-9.:]+) port 22 ssh2$".to_owned(),
        uids: vec![0],
        ..Draft::default()
    };
    let mut rules = Rules::default();
    rules.add(Rule::compile(draft).unwrap()).unwrap();
    world.sources[0].rules = Arc::new(rules);
    let line = |words: &str| format!("Nov 20 10:00:00 mail sshd[7]: {words} for bob from 192.0.2.7 port 22 ssh2");
    let mut asked = Vec::new();
    for words in ["Failed password", "Rejected", "Denied"] {
        let batch = parser().batch(RECEIVED, [line(words).as_bytes()]);
        fold(&mut world.engine, &mut world.sources[0], &batch, &mut world.counts, |seen, _| {
            asked.push(seen.event.map_or("none".to_owned(), |event| event.rule.to_owned()));
        });
    }
    assert_eq!(asked, ["sshd.failed", "mine", "sshd.unknown"]);
}
