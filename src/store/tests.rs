//! A store, written and read again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::evidence::EVIDENCE_BYTES;
use super::open::MIGRATIONS;
use super::*;
use crate::decide::attempt::{Attempt, Classes};
use crate::decide::claim::{Basis, Claim, Claimant, Reason};
use crate::decide::engine::{Engine, Input};
use crate::decide::familiar::Known;
use crate::decide::live::{Session, Spared};
use crate::decide::nets::{Net, World};
use crate::decide::policy::{Class, Policy};
use crate::decide::prefix::Prefix;
use crate::decide::session::HostId;
use crate::decide::state::{USER_MAX, UserCounts, Why};
use crate::decide::tally::Tally;
use crate::detect::address::Address;
use crate::detect::event::Account;

fn open(dir: &Path) -> Store {
    Store::open(dir).unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn evidence(n: usize) -> Evidence {
    let message = vec![b'x'; EVIDENCE_BYTES + n];
    let (prefix, at, source) = (prefix("192.0.2.7"), Timestamp(n as i64), "a".to_owned());
    Evidence { prefix, at, host: HostId(0), source, message, user: b"root".into(), times: 1, sound: 1 }
}

#[test]
fn what_was_committed_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let tally = Tally { counts: [1, 2, 3, 4, 5], last: [6, 7, 8, 9, 10], successes: 11, sound: [1, 0, 3, 0, 5] };
    let reason =
        Reason::Policy { class: Class::Root, count: 3, threshold: 1, basis: Basis::Sound, parts: 0, probation: false };
    let claim = Claim { since: Timestamp(5), until: Some(Timestamp(9)), reason, enforceable: true };
    let wide = Claim { until: None, reason: Reason::Operator { because: None }, ..claim.clone() };
    let (p, q) = (prefix("192.0.2.7"), prefix("2001:db8::/64"));
    let counts = UserCounts { attempts: 3, account: Account::Unknown, last: Timestamp(7) };
    let mut net = Net::default();
    net.add(Class::Root, 3, 0xffff, Timestamp::from_secs(7));
    let session = Session { user: (*b"root").into(), pid: Some(7), since: Timestamp(8) };
    let [live, gone] = [22, 23].map(|port| (Address::from_bits(9), port, HostId(0)));
    let changes = vec![
        Change::Host { name: (*b"web1").into() },
        Change::User { name: (*b"bob\xff").into() },
        Change::Tried { user: 0, counts },
        Change::Counted { prefix: p, tally: Some(tally) },
        Change::Shared { prefix: p, host: Some(HostId(0)), counts: [1, 0, 0, 0, 0] },
        Change::Denied { prefix: p, by: Claimant::Policy, claim: claim.clone() },
        Change::Denied { prefix: q, by: Claimant::Operator, claim: wide },
        Change::Released {
            prefix: q,
            by: Claimant::Operator,
            at: Timestamp(7),
            why: Why::Expired,
            forgeable: false,
            times: 2,
            who: Some("al".into()),
        },
        Change::Forgave { prefix: p, at: Some(Timestamp(77)) },
        Change::Forgave { prefix: q, at: Some(Timestamp(78)) },
        Change::Forgave { prefix: q, at: None },
        Change::Live { key: live, session: Some(session.clone()) },
        Change::Live { key: gone, session: Some(session.clone()) },
        Change::Live { key: gone, session: None },
        Change::Familiar { prefix: p, known: Some(Known { login: 5, probation: 7 }) },
        Change::Familiar { prefix: q, known: Some(Known { login: 5, probation: 0 }) },
        Change::Familiar { prefix: q, known: None },
        Change::Net(q, World::Sound, Some(net.into())),
        Change::Net(q, World::Forgeable, Some(net.into())),
        Change::Net(q, World::Forgeable, None),
    ];
    let cursor = Cursor::File(inputs::cursor::FileCursor { offset: 77, ..Default::default() });
    let mut state = State::default();
    changes.iter().for_each(|change| state.apply(change));
    let cursors = [("log".to_owned(), cursor.clone())].into();
    let allowed = [("192.0.2.0/30".to_owned(), true)].into();
    let mut store = open(dir.path());
    store.commit(&Commit { cursors, changes, allowed, ..Commit::default() }, &state).unwrap();
    drop(store);
    let Loaded { state, cursors, allowed } = open(dir.path()).load().unwrap();
    assert_eq!(state.tallies.get(&p), Some(&tally));
    assert_eq!(state.shares[&(p, HostId(0))], [1, 0, 0, 0, 0]);
    assert_eq!(state.denies[&p].claim(Claimant::Policy), Some(&claim));
    assert!(!state.denies.contains_key(&q), "it was released");
    assert_eq!(state.released[&q], 2);
    assert_eq!(state.users[&b"bob\xff"[..]], counts);
    assert_eq!(state.host_name(HostId(0)), b"web1");
    assert_eq!((state.nets.get(q, World::Sound), state.nets.get(q, World::Forgeable)), (Some(&net), None));
    assert_eq!((state.familiar.get(&p), state.familiar.get(&q)), (Some(Known { login: 5, probation: 7 }), None));
    assert_eq!(state.live.iter().collect::<Vec<_>>(), [(&live, &session)]);
    assert_eq!(
        (state.forgives.of(&p, Timestamp(77)), state.forgives.of(&q, Timestamp(77))),
        (Some(Timestamp(77)), None)
    );
    assert_eq!(cursors["log"], cursor);
    assert_eq!(allowed.into_iter().collect::<Vec<_>>(), ["192.0.2.0/30"]);
    let history = open(dir.path()).database.history(None, 10).unwrap();
    assert_eq!(history.len(), 4, "counts are no decision, and one is of the allow list");
    let who = |one: &Decided| matches!(&one.decision, Decision::Released { who: Some(who), .. } if &**who == "al");
    assert!(history.iter().any(who), "{history:?}");
    assert_eq!(open(dir.path()).database.history(Some(p), 10).unwrap().len(), 1);
}

#[test]
fn evidence_keeps_the_newest_and_cuts_the_long() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for batch in 0..3 {
        let evidence = (0..30).map(|n| evidence(batch * 30 + n)).collect();
        store.commit(&Commit { evidence, ..Commit::default() }, &State::default()).unwrap();
    }
    let kept = store.evidence(&[prefix("192.0.2.7")]).unwrap();
    assert_eq!(kept.iter().map(|one| one.at.0).collect::<Vec<_>>(), (70..90).collect::<Vec<_>>());
    // What is of one moment is told as it came.
    let other = |message: &str| Evidence {
        prefix: prefix("192.0.2.8"),
        at: Timestamp(1),
        message: message.into(),
        ..evidence(1)
    };
    let evidence = ["a", "b", "c"].map(other).into();
    store.commit(&Commit { evidence, ..Commit::default() }, &State::default()).unwrap();
    let messages: Vec<_> = store.evidence(&[prefix("192.0.2.8")]).unwrap().into_iter().map(|one| one.message).collect();
    assert_eq!(messages, [b"a", b"b", b"c"]);
    assert!(kept.iter().all(|one| one.message.len() == EVIDENCE_BYTES));
}

#[test]
fn users_are_told_with_from_where_they_were_tried() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let of = |text: &str, user: &str, at: usize, times| Evidence {
        prefix: prefix(text),
        user: user.into(),
        times,
        ..evidence(at)
    };
    let long = "x".repeat(USER_MAX + 1);
    let all = [
        of("192.0.2.7", "root", 1, 1),
        of("192.0.2.8", "root", 2, 3),
        of("192.0.2.7", "root", 4, 1),
        of("198.51.100.1", "", 5, 1),
        of("2001:db8::/64", "al\u{1b}", 6, 2),
    ];
    store.commit(&Commit { evidence: all.into(), ..Commit::default() }, &State::default()).unwrap();
    let pairs = |within: Option<&str>, most| {
        let wanted = super::Wanted { within: within.map(prefix), user: None };
        let rows = store.database.pairs(&wanted, Timestamp(0), most).unwrap().into_iter();
        rows.map(|one| {
            format!("{:?} {} {} {}", String::from_utf8_lossy(&one.user), one.prefix, one.attempts, one.last.0)
        })
        .collect::<Vec<_>>()
    };
    let [first, second, third, fourth] = [
        r#""root" 192.0.2.8 3 2"#,
        r#""al\u{1b}" 2001:db8::/64 2 6"#,
        r#""root" 192.0.2.7 2 4"#,
        r#""" 198.51.100.1 1 5"#,
    ];
    assert_eq!(pairs(None, 9), [first, second, third, fourth]);
    assert_eq!(pairs(None, 1), [first]);
    assert_eq!(pairs(Some("192.0.2.0/24"), 9), [first, third]);
    assert_eq!(pairs(Some("2001:db8::/32"), 9), [second]);
    let attempt = Attempt {
        peer: Address::from_bits(9),
        prefix: prefix("192.0.2.7"),
        host: HostId(0),
        source: inputs::record::SourceId(0),
        at: Timestamp(1),
        from: Timestamp(1),
        user: long.as_bytes().into(),
        account: Account::Unsaid,
        classes: Classes::probe(),
        times: 2,
        sound: 2,
    };
    let kept = Evidence::of(&attempt, "a", b"x");
    assert_eq!((kept.user.len(), kept.times), (USER_MAX, 2));
}

#[test]
fn the_second_one_is_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let refused = Store::open(dir.path()).err().unwrap().to_string();
    assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
}

#[test]
fn a_database_of_the_first_schema_is_taken_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Connection::open(dir.path().join(FILE)).unwrap();
    db.execute_batch(MIGRATIONS[0]).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    let p = prefix("192.0.2.7");
    let row = "INSERT INTO tallies VALUES(?1, 1, 2, 300, 0, 0, 6, 7, 8, 0, 0, 11)";
    db.execute(row, [p.to_bytes()]).unwrap();
    drop(db);
    let tally = Tally { counts: [1, 2, 300, 0, 0], last: [6, 7, 8, 0, 0], successes: 11, sound: [1, 2, 255, 0, 0] };
    let loaded = open(dir.path()).load().unwrap();
    assert_eq!(loaded.state.tallies.get(&p), Some(&tally));
}

#[test]
fn connections_of_the_second_schema_are_taken_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Connection::open(dir.path().join(FILE)).unwrap();
    MIGRATIONS[..2].iter().for_each(|sql| db.execute_batch(sql).unwrap());
    db.pragma_update(None, "user_version", 2).unwrap();
    // Keys were refused, and nothing came of it; told by a sound line, by one that may be forged, and in PAM's words.
    for (key, peer, trust) in [(9, "192.0.2.7", "Sound"), (10, "192.0.2.8", "Forgeable")] {
        let session = format!(
            r#"{{"peer":"{peer}","peer_trust":"{trust}","port":22,"last":1,"seen":1,"offered":"{trust}","side":{{"source":0}}}}"#
        );
        db.execute("INSERT INTO sessions VALUES(?1, ?2)", [format!(r#"{{"Pid":[0,{key}]}}"#), session]).unwrap();
    }
    let waiting = r#"[{"host":0,"source":0,"trust":"Sound","peer":"192.0.2.9","at":1,"seen":1,"user":[97],"pid":11,"modules":1}]"#;
    db.execute("INSERT INTO notes VALUES('waiting', ?1)", [waiting]).unwrap();
    drop(db);
    let mut engine = Engine::with(Policy::default(), open(dir.path()).load().unwrap().state);
    engine.step(Timestamp(2), Input::End);
    let counted = |address| engine.state.tallies.get(&prefix(address)).map(|tally| (tally.counts[1], tally.sound[1]));
    assert_eq!(["192.0.2.7", "192.0.2.8", "192.0.2.9"].map(counted), [Some((1, 1)), Some((1, 0)), Some((1, 1))]);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let file = dir.path().join(FILE);
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = Store::open(dir.path()).err().unwrap().to_string();
    assert!(refused.contains("schema 99") && refused.contains("install that version again"), "{refused}");
    assert!(file.exists());
}

#[test]
fn rubbish_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), "this is no database\n".repeat(500)).unwrap();
    let store = open(dir.path());
    let aside = store.set_aside.clone().unwrap();
    assert!(fs::read(aside).unwrap().starts_with(b"this is no database"));
    assert_eq!(store.database.history(None, 10).unwrap(), []);
    // Killed before what was denied is taken over, it is lost for the next one too, and so it is before that was noted.
    drop(store);
    assert!(open(dir.path()).is_lost().unwrap());
    open(dir.path()).database.forget_note(LOST).unwrap();
    let mut store = open(dir.path());
    assert!(store.set_aside.is_none() && store.is_lost().unwrap());
    let notes = [(LOST.to_owned(), LOST_NO.to_owned())].into();
    store.commit(&Commit { notes, ..Commit::default() }, &State::default()).unwrap();
    assert!(!store.is_lost().unwrap());
    // One that goes on for long lost nothing, whatever lies beside it.
    store.database.forget_note(LOST).unwrap();
    assert!(!store.is_lost().unwrap());
}

/// Whoever wrote them, rows that mean nothing are left out, and all others are there.
#[test]
fn rows_that_mean_nothing_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut state = State::default();
    let changes = vec![Change::Host { name: b"web".as_slice().into() }, denied(7)];
    changes.iter().for_each(|change| state.apply(change));
    store.commit(&Commit { changes, ..Commit::default() }, &state).unwrap();
    drop(store);
    let db = Connection::open(dir.path().join(FILE)).unwrap();
    db.execute_batch(
        "INSERT INTO hosts VALUES(2, 7), (3, x'6d61696c');
         INSERT INTO tallies(prefix, invalid) VALUES(x'00', 1), ('text', 2), (x'', -1);
         INSERT INTO shares(prefix, host) VALUES(x'00', 'web');
         INSERT INTO denies(prefix, claimant, since, enforceable, reason) VALUES
            (x'00', 'policy', 1, 1, '\"adopted\"'), (x'01', 'nobody', 1, 1, '\"adopted\"'), (x'02', 'policy', 'x', 1, '{');
         INSERT INTO released VALUES(x'00', 'often', NULL);
         INSERT INTO users VALUES(7, 'exists', 1, 0), (x'61', 'maybe', 1, 0);
         INSERT INTO sessions VALUES('{', '{');
         INSERT INTO cursors VALUES('auth', '{\"moon\":1}');
         INSERT INTO allowed VALUES(x'ff');
         INSERT INTO nets VALUES(x'00', 7, '{');
         INSERT INTO familiar VALUES(x'00', -1, 'x');
         INSERT INTO live VALUES(x'00', 99999, -1, 'root', 'x', 'y');
         INSERT INTO forgives VALUES(x'00', 'x');",
    )
    .unwrap();
    drop(db);
    let Loaded { state: again, cursors, allowed } = open(dir.path()).load().unwrap();
    assert_eq!((&again.denies, again.tallies.len(), again.users.len()), (&state.denies, 0, 0));
    assert_eq!((again.live.is_empty(), cursors.len(), allowed.len()), (true, 0, 0));
    // Others are numbered by where they stand.
    let hosts: Vec<_> = again.hosts.keys().map(|name| name.escape_ascii().to_string()).collect();
    assert_eq!(hosts, ["web", "unreadable 2", "mail"]);
}

/// root opens them in a directory that is the daemon's user's, who could have it write anywhere.
#[test]
fn no_link_is_followed() {
    for name in ["lock", FILE] {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "somebody's").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join(name)).unwrap();
        let refused = Store::open_intact(dir.path()).err().map(|error| error.to_string()).unwrap();
        assert!(refused.contains("symbolic link"), "{name}: {refused}");
        let mode = fs::metadata(&other).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read_to_string(&other).unwrap().as_str(), mode), ("somebody's", 0o644), "{name}");
    }
}

#[test]
fn nobody_else_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    drop(open(&state));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
}

fn denied(at: i64) -> Change {
    let claim =
        Claim { since: Timestamp(at), until: None, reason: Reason::Operator { because: None }, enforceable: true };
    Change::Denied { prefix: prefix("192.0.2.7"), by: Claimant::Operator, claim }
}

fn ids(decided: &[Decided]) -> Vec<i64> {
    decided.iter().map(|one| one.id).collect()
}

#[test]
fn a_follower_begins_with_what_is_new_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let decide = |store: &mut Store, changes: Vec<Change>, seen: Option<i64>| {
        let acknowledged = seen.map(|seen| ("mail".to_owned(), seen)).into_iter().collect();
        store.commit(&Commit { changes, acknowledged, ..Commit::default() }, &State::default()).unwrap();
    };
    decide(&mut store, vec![denied(1), denied(2)], None);
    let followers = store.follow(&["mail", "sync"]).unwrap();
    assert!(followers.iter().all(|follower| (follower.seen, follower.behind) == (2, 0)), "{followers:?}");
    decide(&mut store, (3..=7).map(denied).collect(), None);
    assert_eq!(store.newest_decision(), 7);
    assert_eq!(ids(&store.history_after(2, 3).unwrap()), [3, 4, 5]);
    decide(&mut store, vec![], Some(5));
    // What is acknowledged once stays so.
    decide(&mut store, vec![], Some(4));
    drop(store);
    let mut store = open(dir.path());
    let follower = |name: &str, seen, behind| Follower { name: name.to_owned(), seen, behind, missed: 0 };
    assert_eq!(store.followers().unwrap(), [follower("mail", 5, 2), follower("sync", 2, 5)]);
    assert_eq!(ids(&store.history_after(5, 9).unwrap()), [6, 7]);
    assert_eq!(store.follow(&["mail"]).unwrap(), [follower("mail", 5, 2)], "who is configured no more is forgotten");
}

#[test]
fn history_waits_for_the_slowest_follower_up_to_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.follow(&["mail"]).unwrap();
    let mut commit = Commit { changes: (1..=50).map(denied).collect(), ..Commit::default() };
    store.commit(&commit, &State::default()).unwrap();
    let trim = |store: &mut Store, most, at_worst| {
        let tx = store.database.db.transaction().unwrap();
        history::trim(&tx, 50, &mut history::Rows::count(&tx).unwrap(), most, at_worst).unwrap();
        tx.commit().unwrap();
        let follower = store.followers().unwrap().remove(0);
        (store.history_after(0, 99).unwrap()[0].id, follower.seen, follower.missed)
    };
    assert_eq!(trim(&mut store, 48, 49), (1, 0, 0), "within a twentieth nothing is trimmed");
    assert_eq!(trim(&mut store, 10, 60), (1, 0, 0), "it has seen nothing yet");
    assert_eq!(trim(&mut store, 10, 45), (6, 5, 5), "there is an end to waiting");
    (commit.changes, commit.acknowledged) = (vec![], [("mail".to_owned(), 30)].into());
    store.commit(&commit, &State::default()).unwrap();
    assert_eq!(trim(&mut store, 10, 45), (31, 30, 5));
    store.follow(&[]).unwrap();
    let tx = store.database.db.transaction().unwrap();
    let mut rows = history::Rows { all: 20, forgeable: 0 };
    history::trim(&tx, 50, &mut rows, 10, 45).unwrap();
    assert_eq!(rows.all, 10, "nobody is waited for");
}

/// Decisions of denies by number, `f`, `p` and `r` where one rests on what strangers may have made up; with a bound
/// of 32 its part is two.
#[test]
fn history_keeps_what_is_sound_in_a_flood_of_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let decide = |store: &mut Store, kinds: &str| {
        let changes = kinds.chars().map(|kind| {
            let basis = if kind == 'f' { Basis::Forgeable } else { Basis::Sound };
            let reason =
                Reason::Policy { class: Class::Root, count: 2, threshold: 1, basis, parts: 0, probation: false };
            let claim = Claim { since: Timestamp(1), until: None, reason, enforceable: true };
            let spared = Spared {
                prefix: prefix("192.0.2.7"),
                user: (*b"root").into(),
                class: Class::Root,
                count: 2,
                most: 6,
                forgeable: true,
            };
            match kind {
                'p' => Change::Spared { spared: Box::new(spared), at: Timestamp(1) },
                'r' => Change::Released {
                    prefix: prefix("192.0.2.7"),
                    by: Claimant::Policy,
                    at: Timestamp(2),
                    why: Why::Expired,
                    forgeable: true,
                    times: 0,
                    who: None,
                },
                _ => Change::Denied { prefix: prefix("192.0.2.7"), by: Claimant::Policy, claim },
            }
        });
        let changes = changes.collect();
        store.commit(&Commit { changes, ..Commit::default() }, &State::default()).unwrap();
    };
    let trim = |store: &mut Store, most| {
        let newest = store.newest_decision();
        let tx = store.database.db.transaction().unwrap();
        let mut rows = history::Rows::count(&tx).unwrap();
        history::trim(&tx, newest, &mut rows, most, 2 * most).unwrap();
        assert_eq!(rows, history::Rows::count(&tx).unwrap());
        tx.commit().unwrap();
        ids(&store.history_after(0, 99).unwrap())
    };
    decide(&mut store, "spfsfr");
    assert_eq!(trim(&mut store, 32), [1, 4, 5, 6]);
    decide(&mut store, "ssffs");
    assert_eq!(trim(&mut store, 32), [1, 4, 7, 8, 9, 10, 11]);
    // Of all the oldest go, as many as there are too many.
    decide(&mut store, &"s".repeat(28));
    assert_eq!(trim(&mut store, 32)[..4], [8, 9, 10, 11]);
    // None goes that a follower has not seen.
    store.follow(&["mail"]).unwrap();
    decide(&mut store, "fff");
    assert_eq!(trim(&mut store, 32).len(), 33, "two that it had seen");
    assert!(store.followers().unwrap().iter().all(|follower| (follower.behind, follower.missed) == (3, 0)));
}

/// IPv4 is sorted within IPv6, and is none of it.
#[test]
fn history_shows_what_lies_in_a_prefix_by_family() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let all = ["192.0.2.7", "2001:db8::/64", "::1", "192.0.0.0/16", "::ffff:0:0:7", "::/0", "0.0.0.0/0"];
    let claim = Claim { since: Timestamp(1), until: None, reason: Reason::Adopted, enforceable: true };
    let denied = |text: &&str| Change::Denied { prefix: prefix(text), by: Claimant::Policy, claim: claim.clone() };
    store
        .commit(&Commit { changes: all.iter().map(denied).collect(), ..Commit::default() }, &State::default())
        .unwrap();
    let check = |asked: &str, limit, want: &[&str]| {
        let found = store.database.history(Some(prefix(asked)), limit).unwrap();
        let found: Vec<_> = found.iter().map(|one| one.prefix.unwrap().to_string()).collect();
        assert_eq!(found, want, "{asked}");
    };
    check("0.0.0.0/0", 9, &["192.0.2.7", "192.0.0.0/16", "0.0.0.0/0"]);
    check("::/0", 9, &["2001:db8::/64", "::1", "::ffff:0:0:7", "::/0"]);
    check("::/0", 3, &["::1", "::ffff:0:0:7", "::/0"]);
    check("::/80", 9, &["::1"]);
    check("192.0.2.0/24", 9, &["192.0.2.7"]);
    assert_eq!(store.database.history(None, 9).unwrap().len(), all.len());
}

/// Made by the program of schema 2, from a log, forged datagrams and an operator's requests; see its values there.
#[test]
fn a_database_of_the_second_schema_is_taken_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Connection::open(dir.path().join(FILE)).unwrap();
    db.execute_batch(include_str!("../../tests/data/store/schema-2.sql")).unwrap();
    drop(db);
    let store = open(dir.path());
    let Loaded { mut state, cursors, allowed } = store.load().unwrap();
    let tally = |text: &str, state: &State| state.tallies.get(&prefix(text)).copied();
    let counted = |text: &str, counts, last, successes, sound| {
        assert_eq!(tally(text, &state), Some(Tally { counts, last, successes, sound }), "{text}");
    };
    counted("192.0.2.1", [0, 0, 2, 0, 0], [0, 0, 1_795_896_391, 0, 0], 0, [0, 0, 2, 0, 0]);
    counted("192.0.2.2", [6, 0, 0, 0, 0], [1_795_896_995, 0, 0, 0, 0], 0, [6, 0, 0, 0, 0]);
    counted("192.0.2.3", [0, 5, 0, 0, 0], [0, 1_795_898_001, 0, 0, 0], 0, [0, 5, 0, 0, 0]);
    counted("192.0.2.4", [0, 11, 0, 0, 0], [0, 1_795_899_985, 0, 0, 0], 0, [0; 5]);
    counted("192.0.2.5", [0; 5], [0, 1_795_898_600, 0, 0, 0], 1, [0; 5]);
    counted("2001:db8:1:2::/64", [0, 0, 0, 1, 0], [0, 0, 0, 1_795_898_010, 0], 0, [0, 0, 0, 1, 0]);
    assert_eq!((state.tallies.len(), state.shares.len()), (6, 7));
    assert_eq!(state.shares[&(prefix("192.0.2.3"), HostId(1))], [0, 2, 0, 0, 0]);
    // Full, for an hour, for ever; and what a person denied.
    let policy =
        |class, count, basis| Reason::Policy { class, count, threshold: count - 1, basis, parts: 0, probation: false };
    let denied = |text: &str, by, since, until: Option<i64>, reason| {
        let claim = Claim { since: Timestamp(since), until: until.map(Timestamp), reason, enforceable: true };
        assert_eq!(state.denies[&prefix(text)].claims().collect::<Vec<_>>(), [(by, &claim)], "{text}");
    };
    let (ours, theirs) = (Claimant::Policy, Claimant::Operator);
    let because = || Reason::Operator { because: None };
    let hour = Some(1_795_903_585_000_000);
    denied("192.0.2.4", ours, 1_795_899_985_000_000, hour, policy(Class::Valid, 11, Basis::Forgeable));
    denied("192.0.2.1", ours, 1_795_896_391_000_000, None, policy(Class::Root, 2, Basis::Sound));
    let week = Some(1_796_501_795_000_000);
    denied("192.0.2.2", ours, 1_795_896_995_000_000, week, policy(Class::Invalid, 6, Basis::Sound));
    let week = Some(1_796_503_400_000_000);
    denied("192.0.2.5", ours, 1_795_898_600_000_000, week, policy(Class::Valid, 11, Basis::Sound));
    denied("203.0.113.0/24", theirs, 1_795_899_990_437_038, Some(1_798_491_990_437_038), because());
    denied("2001:db8:bad::/48", theirs, 1_795_899_990_488_788, None, because());
    assert_eq!((state.denies.len(), state.ends.len()), (6, 4));
    assert_eq!(state.released.iter().collect::<Vec<_>>(), [(&prefix("192.0.2.1"), &1)]);
    let users =
        state.users.iter().map(|(name, counts)| (name.escape_ascii().to_string(), counts.attempts, counts.account));
    let known = |name: &str, attempts| (name.to_owned(), attempts, Account::Known);
    let guest = (r"guest\\377".to_owned(), 6, Account::Unknown);
    let all = [known("alice", 5), known("bob", 11), known("frank", 11), guest, known("oracle", 1), known("root", 4)];
    assert_eq!(users.collect::<Vec<_>>(), all);
    assert_eq!(
        state.hosts.keys().map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>(),
        ["web1", "web2", "web3"]
    );
    let Cursor::File(cursor) = &cursors["auth"] else { panic!("{cursors:?}") };
    assert_eq!((cursors.len(), cursor.offset, cursor.id.inode), (1, 3124, 10_461_272));
    assert_eq!(allowed.into_iter().collect::<Vec<_>>(), ["198.51.100.0/28"]);
    assert_eq!(store.database.note("inputs").unwrap().as_deref(), Some(r#"["auth","net"]"#));
    let history = store.database.history(None, 99).unwrap();
    let of = |decision: fn(&Decision) -> bool| history.iter().filter(|one| decision(&one.decision)).count();
    assert_eq!((history.len(), of(|one| matches!(one, Decision::Denied { .. }))), (9, 7));
    assert_eq!(of(|one| matches!(one, Decision::Suspicious { user, .. } if user == b"bob")), 1);
    let evidence = store.evidence(&[prefix("192.0.2.4"), prefix("192.0.2.1")]).unwrap();
    assert_eq!(evidence.iter().filter(|one| (one.source.as_str(), one.host) == ("net", HostId(2))).count(), 11);
    assert_eq!(evidence[0].message, b"Failed password for root from 192.0.2.1 port 101 ssh2");
    // Twelve connections are open, and two logins are remembered; what they await is decided at the end of all logs.
    assert_eq!((state.sessions.len(), state.sessions.waiting().len()), (14, 1));
    let mut engine = Engine::with(Policy::default(), std::mem::take(&mut state));
    engine.step(Timestamp(1_795_899_990_000_000), Input::End);
    assert_eq!(tally("192.0.2.6", &engine.state).map(|tally| tally.counts), Some([0, 1, 0, 0, 0]), "only keys");
    assert_eq!(tally("192.0.2.7", &engine.state).map(|tally| tally.counts), Some([0, 1, 0, 0, 0]), "only PAM");
    assert_eq!((engine.state.users[&b"dave"[..]].attempts, engine.state.users[&b"erin"[..]].attempts), (1, 1));
    assert_eq!(store.newest_decision(), 9);
    drop(store);
    // A second time it is of this schema, and the same.
    let again = open(dir.path()).load().unwrap().state;
    assert!(again.denies.iter().all(|(prefix, deny)| engine.state.denies[prefix] == *deny));
}

/// Back ends write their ledgers into the file as soon as it can be written; the engine opens it later.
#[test]
fn what_others_kept_in_the_file_is_newer_than_what_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).database.set_note("written a", "old").unwrap();
    let error = std::io::Error::other("full");
    let mut store = Store::in_memory(dir.path(), StoreError::Directory { dir: dir.path().to_owned(), error }).unwrap();
    store.database.set_note("inputs", "ours").unwrap();
    store.notes().unwrap().set_note("written a", "new").unwrap();
    let note = |store: &Database, name| store.note(name).unwrap();
    assert_eq!(note(&store.notes().unwrap(), "written a").as_deref(), Some("new"), "whoever asks next knows it");
    let first_notes = ["written a", "written b"].map(|name| (name.to_owned(), "{}".to_owned())).into();
    store.commit(&Commit { first_notes, ..Commit::default() }, &State::default()).unwrap();
    drop(store);
    let store = open(dir.path());
    let kept = ["written a", "written b", "inputs"].map(|name| note(&store.database, name));
    assert_eq!(kept.map(Option::unwrap), ["new", "{}", "ours"]);
}

/// What is known of slow attacks by many outlasts a restart: who tried, what is tried, and that it was told.
#[test]
fn waves_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut engine) = (open(dir.path()), Engine::with(Policy::default(), State::default()));
    let day = 86_400;
    let address = |number: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
    let fails = |engine: &mut Engine, number, at: i64| {
        let (peer, at) = (std::net::IpAddr::V4(address(number)).into(), Timestamp::from_secs(at));
        let attempt = Attempt {
            peer,
            prefix: engine.policy.prefix(peer),
            host: HostId(0),
            source: inputs::record::SourceId(0),
            at,
            from: at,
            user: b"ad\xffmin".into(),
            account: Account::Unknown,
            classes: Classes::of(b"ad\xffmin", Account::Unknown, &engine.policy),
            times: 1,
            sound: 1,
        };
        engine.step(at, Input::Attempt(attempt));
    };
    (0..200).for_each(|number| fails(&mut engine, number, 100 * day));
    fails(&mut engine, 7, 101 * day);
    engine.settle();
    let commit = Commit { changes: std::mem::take(&mut engine.changes), ..Commit::default() };
    store.commit(&commit, &engine.state).unwrap();
    let told = store.database.history(None, 10).unwrap();
    let want = Decision::Wave {
        user: b"ad\xffmin".to_vec(),
        over: false,
        addresses: 128,
        hosts: 1,
        since: Timestamp::from_secs(100 * day),
    };
    assert_eq!((told.len(), &told[0].decision, told[0].prefix), (1, &want, None));
    drop(store);
    let state = open(dir.path()).load().unwrap().state;
    let on = |state: &State| state.waves.on().map(|(name, wave)| (name.to_vec(), wave)).collect::<Vec<_>>();
    assert_eq!((on(&state), on(&state)[0].1.addresses), (on(&engine.state), 200));
    let known = state.waves.get(&Prefix::host(address(7))).unwrap();
    assert_eq!((Some(known), known.tries), (engine.state.waves.get(&Prefix::host(address(7))), 2));
}
