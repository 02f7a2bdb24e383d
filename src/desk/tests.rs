use std::time::Duration;

use inputs::record::SourceId;
use inputs::syslog::parse::Parser;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_795_304_306);

/// A state directory of a test's own, which goes with it.
struct Dir(std::path::PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        Dir(std::env::temp_dir().join(format!("denyd-desk-{name}-{}", std::process::id())))
    }

    fn open(&self, policy: Policy, now: Timestamp) -> Desk {
        Desk::open(Store::open(&self.0).expect("a store"), policy, now).expect("it loads")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn put_line(desk: &mut Desk, line: &str) -> Effects {
    let mut source = Source::new(SourceId(0), None, "here");
    let batch = Parser::default().batch(NOW, [line.as_bytes()]);
    desk.fold(&mut source, &batch, &mut Counts::default(), NOW, |_| ())
}

#[test]
fn what_the_configuration_allows_is_released_when_it_is_read() {
    let dir = Dir::new("allowed");
    let mut desk = dir.open(Policy::default(), NOW);
    let prefix: Prefix = "192.0.2.7".parse().expect("an address");
    let asked = desk.ask(&Request::Deny { prefix, seconds: None, force: false, caller: None, because: None }, NOW);
    assert_eq!(asked.committed.expect("it was tried").publish.denies, [(prefix, Some(None))].into());
    drop(desk);
    let allow = AllowList::of(["192.0.2.0/24"].into_iter()).expect("an entry");
    let later = NOW.after(Duration::from_secs(60));
    let mut desk = dir.open(Policy { allow, ..Policy::default() }, later);
    desk.commit(later).written.expect("it can be written");
    let history = desk.store.database.history(Some(prefix), 10).expect("it can be read");
    assert!(
        matches!(&history[1], Decided { at, decision: Decision::Released { .. }, .. } if *at == later),
        "{history:?}"
    );
}

/// The address of a host name is a stranger's one day.
#[test]
fn what_a_name_may_have_allowed_is_not_taken_over_for_ever() {
    let check = |entries: &[&str], later: bool| {
        let dir = Dir::new(if later { "alone" } else { "named" });
        let allow = AllowList::of(entries.iter().copied()).expect("entries");
        let mut desk = dir.open(Policy { allow, ..Policy::default() }, NOW);
        let allowed = ["192.0.2.7", "198.51.100.0/24"].map(|text| text.parse().expect("a prefix"));
        desk.take_over(BTreeMap::new(), allowed.to_vec(), NOW);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(desk.allows(address("192.0.2.7")) && desk.allows(address("198.51.100.7")), "{entries:?}");
        for name in desk.allowed_names() {
            let answer = desk.hear_name(&name, Err("no".to_owned()), NOW);
            assert!(desk.allows(address("192.0.2.7")), "{answer:?}");
            let _ = desk.hear_name(&name, Ok(vec![address("203.0.113.1")]), NOW);
        }
        assert_eq!(desk.allows(address("192.0.2.7")), later, "{entries:?}");
        assert!(desk.allows(address("198.51.100.7")), "{entries:?}");
    };
    check(&["home.example.org"], false);
    check(&["203.0.113.9"], true);
}

fn said(asked: &Asked) -> String {
    match &asked.reply {
        Ok(reply) => reply::json(reply),
        Err(error) => error.clone(),
    }
}

#[test]
fn a_shorter_deny_shortens_none_unless_that_is_meant() {
    let dir = Dir::new("shorter");
    let mut desk = dir.open(Policy::default(), NOW);
    let prefix = "192.0.2.7".parse().expect("an address");
    let mut deny =
        |seconds, force| said(&desk.ask(&Request::Deny { prefix, seconds, force, caller: None, because: None }, NOW));
    let until = |seconds| format!(r#"{{"prefix":"192.0.2.7","until":"{}"}}"#, NOW.after(Duration::from_secs(seconds)));
    assert_eq!(deny(Some(60), false), until(60));
    assert_eq!(deny(Some(3_600), false), until(3_600));
    let longer = "which is longer; to shorten that, say --force";
    let end = NOW.after(Duration::from_secs(3_600));
    assert_eq!(deny(Some(60), false), format!("192.0.2.7 is denied until {end} already, {longer}"));
    assert_eq!(deny(Some(60), true), until(60));
    assert_eq!(deny(None, false), r#"{"prefix":"192.0.2.7","until":null}"#);
    assert_eq!(deny(Some(60), false), format!("192.0.2.7 is denied for ever already, {longer}"));
    // Whoever else wants it for longer has it.
    let reason = Reason::Adopted;
    let claim = Claim { since: NOW, until: None, reason, enforceable: true };
    let prefix = "192.0.2.8".parse().expect("an address");
    desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim });
    let asked = desk.ask(&Request::Deny { prefix, seconds: Some(60), force: false, caller: None, because: None }, NOW);
    assert_eq!(said(&asked), r#"{"prefix":"192.0.2.8","until":null}"#);
}

#[test]
fn why_shows_every_claim_that_holds_an_address_and_what_was_forgiven() {
    let dir = Dir::new("claims");
    let mut desk = dir.open(Policy::default(), NOW);
    for (text, seconds) in [("192.0.2.0/24", 60), ("192.0.2.7", 30), ("192.0.2.8", 90)] {
        let prefix = text.parse().expect("a prefix");
        let asked =
            desk.ask(&Request::Deny { prefix, seconds: Some(seconds), force: false, caller: None, because: None }, NOW);
        asked.reply.expect("denied");
    }
    let claim = Claim { since: NOW, until: None, reason: Reason::Adopted, enforceable: true };
    let prefix = "192.0.2.7".parse().expect("an address");
    desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim });
    let why = |desk: &mut Desk, now| match desk
        .ask(&Request::Why { address: "192.0.2.7".parse().expect("one") }, now)
        .reply
    {
        Ok(Reply::Why(why)) => *why,
        other => panic!("{:?}", other.map(|reply| reply::json(&reply))),
    };
    let held = |why: &reply::Why| {
        let one = |one: &reply::Held| {
            let end = one.until.map_or("ever".to_owned(), |until| (until.0.secs() - NOW.secs()).to_string());
            format!("{} by {} until {end}{}", one.prefix, one.by, if one.enforced { "" } else { ", over" })
        };
        why.claims.iter().map(one).collect::<Vec<_>>()
    };
    let all = why(&mut desk, NOW);
    let wide = "192.0.2.0/24 by operator until 60";
    assert_eq!(held(&all), [wide, "192.0.2.7 by operator until 30", "192.0.2.7 by policy until ever"]);
    assert_eq!((all.prefix, all.until), (prefix, None), "the verdict is of the one that lasts longest");
    let later = NOW.after(Duration::from_secs(45));
    let over = "192.0.2.7 by operator until 30, over";
    assert_eq!(held(&why(&mut desk, later)), [wide, over, "192.0.2.7 by policy until ever"]);
    // Forgiven, what failed before is shown apart.
    let _ = put_line(&mut desk, "Nov 21 23:38:00 web sshd[7]: Failed password for al from 192.0.2.7 port 41 ssh2");
    let _ = desk.ask(&Request::Forgive { prefix: Some(prefix), who: Some("al".to_owned()) }, NOW);
    let forgiven = why(&mut desk, NOW);
    let evidence: Vec<_> = forgiven.evidence.iter().map(|one| one.forgiven).collect();
    assert_eq!((forgiven.forgiven, held(&forgiven).len(), evidence), (Some(reply::At(NOW)), 0, vec![true]));
    let history = desk.store.database.history(Some(prefix), 10).expect("it can be read");
    let by = history
        .iter()
        .filter(|one| matches!(&one.decision, Decision::Released { who: Some(who), .. } if &**who == "al"));
    assert_eq!(by.count(), 2, "{history:?}");
}

#[test]
fn what_a_clock_that_was_ahead_left_out_is_enforced_once_it_is_right() {
    let dir = Dir::new("ahead");
    let mut desk = dir.open(Policy::default(), NOW);
    let prefix: Prefix = "192.0.2.7".parse().expect("an address");
    let request = Request::Deny { prefix, seconds: Some(3_600), force: false, caller: None, because: None };
    desk.ask(&request, NOW).reply.expect("denied");
    drop(desk);
    let (end, ahead) = (NOW.after(Duration::from_secs(3_600)), NOW.after(Duration::from_secs(7_200)));
    let mut desk = dir.open(Policy::default(), ahead);
    assert!(desk.publish_all(ahead).denied.is_empty());
    let told = |diff: Diff| diff.denies.into_iter().collect::<Vec<_>>();
    assert_eq!(told(desk.clock_was_set(NOW, NOW)), [(prefix, Some(Some(end)))]);
    assert!(desk.clock_was_set(NOW, NOW).is_empty(), "it is told once");
    assert_eq!(told(desk.clock_was_set(ahead, ahead)), [(prefix, None)]);
}

/// It leapt, and the records that come with it.
#[test]
fn a_record_of_a_clock_that_is_not_believed_releases_nobody() {
    let dir = Dir::new("leapt");
    let mut desk = dir.open(Policy::default(), NOW);
    let prefix: Prefix = "192.0.2.7".parse().expect("an address");
    let request = Request::Deny { prefix, seconds: Some(3_600), force: false, caller: None, because: None };
    desk.ask(&request, NOW).reply.expect("denied");
    let later = NOW.after(Duration::from_secs(86_400));
    let mut fails = |pid: u32, now| {
        let line = format!("Nov 22 23:00:00 web sshd[{pid}]: Failed password for al from 192.0.2.7 port {pid} ssh2");
        let batch = Parser::default().batch(later, [line.as_bytes()]);
        let _ = desk.fold(&mut Source::new(SourceId(0), None, "here"), &batch, &mut Counts::default(), now, |_| ());
        desk.engine.state.denies.contains_key(&prefix)
    };
    assert_eq!([fails(1, NOW), fails(2, later)], [true, false]);
}

/// It was a year ahead.
#[test]
fn what_was_decided_by_a_clock_that_was_ahead_moves_back_with_it() {
    let dir = Dir::new("set-back");
    let mut desk = dir.open(Policy { probation: None, ..Policy::default() }, NOW);
    let (ahead, minute) = (NOW.after(Duration::from_secs(365 * 86_400)), Duration::from_secs(60));
    let [before, person, policy, forgiven] =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(|text| text.parse().expect("an address"));
    let deny = |prefix| Request::Deny { prefix, seconds: Some(600), force: false, caller: None, because: None };
    desk.ask(&deny(before), NOW).reply.expect("denied");
    desk.ask_by(&deny(person), ahead, NOW).reply.expect("denied");
    let claim = |until| Claim { since: ahead, until, reason: Reason::Adopted, enforceable: true };
    let day = Some(ahead.after(Duration::from_secs(86_400)));
    desk.engine.step(ahead, Input::Claim { prefix: policy, by: Claimant::Policy, claim: claim(day) });
    desk.ask_by(&Request::Forgive { prefix: Some(forgiven), who: None }, ahead, NOW).reply.expect("forgiven");
    let covers = |desk: &Desk, at, now| desk.engine.state.forgives.cover(&forgiven, at, now);
    assert_eq!([covers(&desk, ahead, ahead), covers(&desk, NOW, NOW)], [true, false]);
    // Where that clock is right after all, nothing changes.
    let end = |desk: &Desk, prefix: Prefix| desk.engine.state.denies[&prefix].until().expect("an end");
    let ends = |desk: &Desk| [before, person, policy].map(|prefix| end(desk, prefix));
    let known = ends(&desk);
    let _ = desk.clock_was_set(ahead.after(minute), ahead.after(minute));
    assert_eq!(ends(&desk), known);
    let now = NOW.after(minute);
    let _ = desk.clock_was_set(now.after(minute), now);
    let lasts = ends(&desk).map(|end| end.secs() - now.secs());
    assert_eq!(lasts, [540, 600, 86_400]);
    assert!(covers(&desk, NOW, now) && !covers(&desk, now.after(minute), now.after(minute)));
    desk.redate(now, NOW, now);
    assert!(covers(&desk, NOW, now) && !covers(&desk, NOW.after(Duration::from_secs(1)), now));
    desk.commit(now).written.expect("it can be written");
    drop(desk);
    assert_eq!(ends(&dir.open(Policy::default(), now)).map(|end| end.secs() - now.secs()), lasts);
}

/// All at once, where they are no more than are remembered.
#[test]
fn who_mistyped_is_forgiven_by_name_and_no_flood() {
    use crate::decide::forgives::FORGIVES_MAX;

    let dir = Dir::new("user");
    let mut desk = dir.open(Policy::default(), NOW);
    let host = |n: usize| Prefix::host(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n as u32));
    let tried = |n: usize, user: &str| Evidence {
        prefix: host(n),
        at: NOW,
        host: crate::decide::session::HostId(0),
        source: "a".to_owned(),
        message: format!("Failed password for {user} from {} port 9 ssh2", host(n)).into_bytes(),
        user: user.into(),
        times: 1,
        sound: 1,
    };
    desk.pending.evidence = (0..FORGIVES_MAX).map(|n| tried(n, "al")).collect();
    desk.commit(NOW).written.expect("it can be written");
    let forgive = |desk: &mut Desk| desk.ask(&Request::ForgiveUser { user: "al".to_owned(), who: None }, NOW).reply;
    forgive(&mut desk).expect("they are forgiven");
    assert!(desk.engine.state.forgives.cover(&host(FORGIVES_MAX - 1), NOW, NOW));
    // Who tried others too does not count among them; one more who did not is too many.
    desk.pending.evidence = vec![tried(FORGIVES_MAX, "al"), tried(FORGIVES_MAX, "root")];
    forgive(&mut desk).expect("they are forgiven");
    desk.pending.evidence = vec![tried(FORGIVES_MAX + 1, "al")];
    desk.commit(NOW).written.expect("it can be written");
    let refused = forgive(&mut desk).expect_err("they are too many");
    assert!(refused.starts_with("16385 addresses tried al and nobody else"), "{refused}");
}

#[test]
fn what_is_dangerously_wide_is_allowed_by_force_alone() {
    let dir = Dir::new("wide");
    let mut desk = dir.open(Policy::default(), NOW);
    let mut allow = |entry: &str, force| {
        said(&desk.ask(&Request::Allow { entry: Some(entry.to_owned()), remove: false, force, who: None }, NOW))
    };
    for (entry, widest) in [
        ("0.0.0.0/0", 8),
        ("10.0.0.0/7", 8),
        ("[10-11].*", 8),
        ("1.0.0.0-2.0.0.0", 8),
        ("*.*.*.*", 8),
        ("::/0", 32),
        ("2001:db8::/31", 32),
        ("2001:db8::-2001:db9::", 32),
    ] {
        let refused = format!("{entry} is wider than /{widest}; if you mean it, say --force");
        assert_eq!(allow(entry, false), refused);
    }
    for entry in ["10.0.0.0/8", "11.*", "2001:db8::/32", "192.0.2.7"] {
        assert!(allow(entry, false).contains("allowed"), "{entry}");
    }
    assert!(allow("0.0.0.0/0", true).contains("allowed"));
}

/// Failures of root from these addresses, one each.
fn fail(desk: &mut Desk, addresses: impl Iterator<Item = String>) -> Diff {
    let mut told = Diff::default();
    for (address, pid) in addresses.zip(1..) {
        let line = format!("Nov 21 23:38:00 web sshd[{pid}]: Failed password for root from {address} port {pid} ssh2");
        let Diff { denies, allowed, .. } = put_line(desk, &line).publish;
        told.denies.extend(denies);
        told.allowed = allowed.or(told.allowed);
    }
    told
}

/// Whoever is logged in keeps that connection while the policy denies the address, and no other; not where a person denies it.
#[test]
fn a_session_stays_open_until_its_end_unless_a_person_denies_it() {
    let dir = Dir::new("kept");
    let mut desk = dir.open(Policy { probation: None, ..Policy::default() }, NOW);
    let kept = |set: &BTreeSet<crate::deny::Connection>| set.iter().map(|(_, port)| *port).collect::<Vec<_>>();
    for (second, port) in [(1, 41), (2, 42)] {
        let line = format!("Accepted password for al from 192.0.2.7 port {port} ssh2");
        let told = put_line(&mut desk, &format!("Nov 21 23:37:0{second} web sshd[{port}]: {line}")).publish;
        assert!(told.kept.is_none(), "nobody is denied");
    }
    let failed = |n| format!("Nov 21 23:38:00 web sshd[{n}]: Failed password for root from 192.0.2.7 port {n} ssh2");
    let _ = put_line(&mut desk, &failed(101));
    let told = put_line(&mut desk, &failed(102)).publish;
    assert_eq!((told.denies.len(), kept(&told.kept.expect("they are told with the deny"))), (1, vec![41, 42]));
    assert_eq!(kept(&desk.wanted(NOW).kept), [41, 42]);
    let end = "Nov 21 23:38:01 web sshd[41]: pam_unix(sshd:session): session closed for user al";
    assert_eq!(kept(&put_line(&mut desk, end).publish.kept.expect("one is over")), [42]);
    let _ = desk.commit(NOW);
    let mut ask = |request| desk.ask(&request, NOW).committed.expect("a commit").publish;
    let prefix = "192.0.2.7".parse().expect("a prefix");
    let deny = Request::Deny { prefix, seconds: None, force: false, caller: None, because: None };
    assert_eq!(kept(&ask(deny).kept.expect("who is denied by a person is to be gone")), [0; 0]);
    let told = ask(Request::Forgive { prefix: Some(prefix), who: None });
    assert!(told.kept.is_none());
}

fn machine() -> Machine {
    let one = |text: &str| vec![text.parse().expect("a prefix")];
    Machine { own: one("192.0.2.1"), gateways: one("192.0.2.254"), links: one("2001:db8::/64") }
}

#[test]
fn a_link_is_denied_but_for_who_logged_in_there_and_what_is_this_machine() {
    let dir = Dir::new("exceptions");
    let mut desk = dir.open(Policy { machine: machine(), ..Policy::default() }, NOW);
    let _ =
        put_line(&mut desk, "Nov 21 23:37:00 web sshd[900]: Accepted password for al from 2001:db8::aaaa port 9 ssh2");
    let told = fail(&mut desk, (1..=33).map(|n| format!("2001:db8::{n:x}")));
    let link: Prefix = "2001:db8::/64".parse().expect("a prefix");
    let shown = |allowed: &[Range]| allowed.iter().map(Range::to_string).collect::<Vec<_>>();
    let with = ["192.0.2.1", "192.0.2.254", "2001:db8::aaaa"];
    assert!(told.denies.contains_key(&link));
    assert_eq!(shown(&told.allowed.expect("they are told with the link")), with);
    let wanted = desk.wanted(NOW);
    assert!(wanted.denied.contains_key(&link));
    assert_eq!(shown(&wanted.allowed), with);
    let verdict = |desk: &mut Desk, address: &str| {
        let address = address.parse().expect("an address");
        match desk.ask(&Request::Why { address }, NOW).reply {
            Ok(Reply::Why(why)) => (why.verdict, why.claims.len()),
            _ => panic!("{address}"),
        }
    };
    assert_eq!(verdict(&mut desk, "2001:db8::bbbb"), (reply::Verdict::Denied, 1));
    assert_ne!(verdict(&mut desk, "2001:db8::aaaa").0, reply::Verdict::Denied);
    let _ = desk.commit(NOW);
    // Denied for itself it is no exception any more, and is again when that is over.
    let denied = "2001:db8::aaaa".parse().expect("an address");
    let asked =
        desk.ask(&Request::Deny { prefix: denied, seconds: None, force: false, caller: None, because: None }, NOW);
    let diff = asked.committed.expect("it was tried").publish;
    assert_eq!(shown(&diff.allowed.expect("it changed")), with[..2]);
    let asked = desk.ask(&Request::Forgive { prefix: Some(denied), who: None }, NOW);
    let diff = asked.committed.expect("it was tried").publish;
    // Forgiven, the link is released with it, which held it.
    assert_eq!((diff.allowed, diff.denies.get(&link)), (None, Some(&None)));
}

/// While the database cannot be written, all that waits is looked at again each second.
#[test]
fn who_is_allowed_is_told_once_while_the_database_cannot_be_written() {
    let dir = Dir::new("unwritten");
    let mut desk = dir.open(Policy { machine: machine(), ..Policy::default() }, NOW);
    desk.publish_all(NOW);
    let _ = fail(&mut desk, (1..=33).map(|n| format!("2001:db8::{n:x}")));
    desk.commit(NOW).written.expect("it can be written");
    let other = rusqlite::Connection::open(dir.0.join(crate::store::FILE)).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    let login = "Nov 21 23:39:00 web sshd[900]: Accepted password for al from 2001:db8::aaaa port 9 ssh2";
    let _ = put_line(&mut desk, login);
    let told: Vec<_> = (0..3).map(|_| desk.commit(NOW)).collect();
    assert!(told.iter().all(|one| one.written.is_err()));
    assert_eq!(told.iter().map(|one| one.publish.allowed.is_some()).collect::<Vec<_>>(), [true, false, false]);
    other.execute_batch("ROLLBACK").expect("it ends");
    let last = desk.commit(NOW);
    assert_eq!((last.written.is_ok(), last.publish.allowed), (true, None));
}

#[test]
fn this_machine_and_its_gateway_are_never_denied() {
    let dir = Dir::new("machine");
    let mut desk = dir.open(Policy::default(), NOW);
    let twice = || ["192.0.2.1", "192.0.2.1", "192.0.2.254", "192.0.2.254"].map(str::to_owned).into_iter();
    assert_eq!(fail(&mut desk, twice()).denies.len(), 2);
    // They are released when it is known what they are.
    let _ = desk.set_machine(machine(), NOW);
    let diff = desk.commit(NOW).publish;
    assert_eq!(diff.denies.values().filter(|end| end.is_none()).count(), 2);
    assert_eq!(fail(&mut desk, twice().chain(twice())).denies.len(), 0);
    for (text, what) in [("192.0.2.1", "own address"), ("192.0.2.254", "default gateway")] {
        let prefix = text.parse().expect("an address");
        let asked = desk.ask(&Request::Deny { prefix, seconds: None, force: true, caller: None, because: None }, NOW);
        assert_eq!(said(&asked), format!("{text} is this machine's {what}, which is never denied"));
    }
    // Inside a wider deny they stay allowed.
    let prefix = "192.0.2.0/24".parse().expect("a prefix");
    let asked = desk.ask(&Request::Deny { prefix, seconds: None, force: false, caller: None, because: None }, NOW);
    asked.reply.expect("denied");
    assert_eq!(desk.wanted(NOW).allowed.len(), 2);
}

#[test]
fn what_was_denied_before_a_trial_is_not_taken_back() {
    let dir = Dir::new("trial");
    let mut desk = dir.open(Policy::default(), NOW);
    let [old, again, new, unwritten] =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(|text| text.parse().expect("an address"));
    let deny = |desk: &mut Desk, prefix: Prefix| {
        let claim = Claim { since: NOW, until: None, reason: Reason::Adopted, enforceable: true };
        desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim });
    };
    let forgive = |desk: &mut Desk, prefix| {
        desk.ask(&Request::Forgive { prefix: Some(prefix), who: None }, NOW).reply.expect("forgiven");
    };
    deny(&mut desk, old);
    deny(&mut desk, again);
    desk.commit(NOW).written.expect("it can be written");
    let order = *desk.decided().borrow();
    // The clock is set back: what is denied lasts from now on, which the history tells as a deny.
    desk.engine.step(NOW, Input::Command(Command::SetBack(NOW.before(Duration::from_secs(60)))));
    forgive(&mut desk, again);
    deny(&mut desk, again);
    deny(&mut desk, new);
    desk.commit(NOW).written.expect("it can be written");
    deny(&mut desk, unwritten);
    for _ in 0..2 {
        desk.take_back(order, NOW).expect("the history is read").written.expect("it can be written");
        assert_eq!(desk.engine.state.denies.keys().copied().collect::<Vec<_>>(), [old]);
    }
}

#[test]
fn a_link_that_an_earlier_version_denied_is_released() {
    let dir = Dir::new("link");
    let mut desk = dir.open(Policy::default(), NOW);
    let claim = Claim { since: NOW, until: None, reason: Reason::Adopted, enforceable: true };
    let [link, host, other] = ["fe80::/64", "fe80::7", "2001:db8::/64"].map(|text| text.parse().expect("a prefix"));
    for prefix in [link, host, other] {
        desk.engine.step(NOW, Input::Claim { prefix, by: Claimant::Policy, claim: claim.clone() });
    }
    let wide: Prefix = "fe80::/10".parse().expect("a prefix");
    desk.ask(&Request::Deny { prefix: wide, seconds: None, force: true, caller: None, because: None }, NOW)
        .reply
        .expect("denied");
    drop(desk);
    let mut desk = dir.open(Policy::default(), NOW);
    desk.commit(NOW).written.expect("it can be written");
    let Ok(Reply::History(told)) = desk.ask(&Request::History { prefix: Some(link), limit: 1 }, NOW).reply else {
        panic!("what was decided is told")
    };
    assert!(reply::json(&told[0]).contains(r#""why":"narrowed""#), "nobody forgave it: {}", reply::json(&told[0]));
    let left: BTreeSet<_> = desk.engine.state.denies.keys().copied().collect();
    assert_eq!(left, BTreeSet::from([host, other, wide]), "what a person denied stays");
}

#[test]
fn who_only_asks_leaves_a_corrupt_database_to_the_daemon() {
    let dir = Dir::new("corrupt");
    drop(dir.open(Policy::default(), NOW));
    std::fs::write(dir.0.join(crate::store::FILE), [b'x'; 8192]).expect("it is overwritten");
    let refused = Store::open_intact(&dir.0).err().expect("it is corrupt");
    assert!(refused.is_corrupt(), "{refused}");
    assert!(Store::open(&dir.0).expect("set aside").set_aside.is_some());
}

#[test]
fn inputs_keep_their_numbers() {
    let dir = Dir::new("inputs");
    let check = |names: &[&str], want: &[u16]| {
        let mut desk = dir.open(Policy::default(), NOW);
        let ids: Vec<_> = desk.number(names).expect("they are kept").into_iter().map(|id| id.0).collect();
        assert_eq!(ids, want, "{names:?}");
    };
    check(&["a", "b", "c"], &[0, 1, 2]);
    check(&["c", "a", "b"], &[2, 0, 1]);
    check(&["d", "c", "e", "b"], &[0, 2, 3, 1]);
    check(&["b"], &[1]);
}

#[test]
fn evidence_that_is_late_names_its_input() {
    let dir = Dir::new("late");
    let mut desk = dir.open(Policy::default(), NOW);
    desk.number(&["auth"]).expect("it is kept");
    let pam =
        "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=al";
    let _ = put_line(&mut desk, &format!("Nov 21 22:00:00 web sshd[7]: {pam}"));
    let _ = put_line(&mut desk, "Nov 21 22:01:00 web sshd[1]: Received signal 1; restarting.");
    assert_eq!(desk.pending.evidence.iter().map(|one| one.source.as_str()).collect::<Vec<_>>(), ["auth"]);
}

#[test]
fn a_login_alone_is_worth_a_commit() {
    let dir = Dir::new("login");
    let mut desk = dir.open(Policy::default(), NOW);
    let effects = put_line(
        &mut desk,
        "Nov 21 23:00:00 web sshd[7]: Accepted publickey for al from 192.0.2.7 port 41 ssh2: RSA SHA256:x",
    );
    assert!(effects.waiting.rows > 0, "or a box with logins only gathers them for ever");
    desk.commit(NOW).written.expect("it can be written");
    assert_eq!(desk.tick(NOW).waiting, Waiting::default());
}

/// An output that must tell each decision once: it is woken by a commit, reads, tells, and acknowledges.
struct Mail {
    seen: i64,
    woken: watch::Receiver<i64>,
    told: Vec<String>,
}

impl Mail {
    fn begin(desk: &mut Desk) -> Self {
        let (followers, woken) = desk.follow(&["mail"]).expect("it is kept");
        Mail { seen: followers[0].seen, woken, told: Vec::new() }
    }

    /// Tells what there is if it was woken; whether it was.
    fn work(&mut self, desk: &mut Desk) -> bool {
        let is_woken = self.woken.has_changed().expect("the desk is there");
        self.woken.mark_unchanged();
        while let Some(one) = desk.history_after(self.seen, 1).expect("it can be read").pop() {
            self.told.push(one.prefix.map(|prefix| prefix.to_string()).unwrap_or_default());
            self.seen = one.id;
        }
        let _ = desk.acknowledge(&[("mail", self.seen)], NOW);
        is_woken
    }
}

#[test]
fn who_follows_is_woken_by_a_commit_and_told_each_decision_once() {
    let dir = Dir::new("follow");
    let deny = |desk: &mut Desk, text: &str| {
        let prefix = text.parse().expect("a prefix");
        let asked = desk.ask(&Request::Deny { prefix, seconds: None, force: false, caller: None, because: None }, NOW);
        asked.reply.expect("denied");
    };
    let mut desk = dir.open(Policy::default(), NOW);
    deny(&mut desk, "192.0.2.1");
    let mut mail = Mail::begin(&mut desk);
    assert!(!mail.work(&mut desk), "what was decided before is not its affair");
    assert_eq!(desk.status().followers.len(), 0, "nor is anybody behind");
    deny(&mut desk, "192.0.2.2");
    deny(&mut desk, "192.0.2.3");
    assert_eq!(desk.status().followers[0].behind, 2);
    assert!(mail.work(&mut desk));
    assert_eq!(mail.told, ["192.0.2.2", "192.0.2.3"]);
    desk.commit(NOW).written.expect("it can be written");
    assert!(!mail.work(&mut desk), "a commit that decides nothing wakes nobody");
    deny(&mut desk, "192.0.2.4");
    drop(desk);
    // It has not told of the last, nor is that lost.
    let mut desk = dir.open(Policy::default(), NOW);
    let mut mail = Mail::begin(&mut desk);
    mail.work(&mut desk);
    assert_eq!(mail.told, ["192.0.2.4"]);
}
