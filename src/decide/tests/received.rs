//! Whom a server tells of: believed only where that harms nobody here. The addresses are of the internet, and not of examples.

use super::*;
use crate::decide::claim::Basis;
use crate::decide::engine::received::Refused;
use crate::decide::forgives::FORGIVES_MAX;
use crate::decide::state::RECEIVED_MAX;
use crate::decide::tally::Tally;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A server tells of an address, to be denied for a day.
fn tells(engine: &mut Engine, address: &str, now: Timestamp) -> Result<Prefix, Refused> {
    let prefix = engine.receives(address.parse().unwrap(), now)?;
    let until = engine.lasts(&prefix, Some(Duration::from_secs(86_400))).map(|time| now.after(time));
    let reason = Reason::Sync { server: "hub.example.org:9911".into(), reporters: 3 };
    let claim = Claim { since: now, until, reason, enforceable: true };
    engine.step(now, Input::Claim { prefix, by: Claimant::Sync, claim });
    assert!(engine.state.denies[&prefix].claim(Claimant::Sync).is_some(), "{address}");
    Ok(prefix)
}

fn forgive(engine: &mut Engine, now: Timestamp, prefixes: &[Prefix]) {
    engine.step(now, Input::Command(Command::Forgive(prefixes.to_vec(), None)));
}

#[test]
fn it_is_believed_where_that_harms_nobody() {
    let allow = crate::decide::allow::AllowList::of(["20.2.0.0/16"].into_iter()).unwrap();
    let mut engine = Engine::new(Policy { allow, ..Policy::default() });
    let now = RECEIVED;
    forgive(&mut engine, now, &[prefix("20.3.0.0/16"), prefix("20.4.0.1"), prefix("2a00:0:0:4::7/128")]);
    let known = crate::decide::familiar::Known { login: 1_796_000_000, probation: 0 };
    engine.state.apply(&Change::Familiar { prefix: prefix("20.5.0.1"), known: Some(known) });
    let mut check = |address: &str, want: Result<&str, Refused>| {
        assert_eq!(tells(&mut engine, address, now), want.map(prefix), "{address}");
    };
    check("20.1.1.1", Ok("20.1.1.1"));
    check("20.1.1.1", Err(Refused::Known));
    check("::ffff:20.1.1.2", Ok("20.1.1.2"));
    check("2a00:0:0:1::7", Ok("2a00:0:0:1::/64"));
    check("2a00:0:0:1::8", Err(Refused::Known));
    for special in ["127.0.0.1", "10.0.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "::1", "fe80::1"] {
        check(special, Err(Refused::Special));
    }
    check("20.2.7.7", Err(Refused::Allowed));
    check("20.3.7.7", Err(Refused::Forgiven));
    check("20.4.0.1", Err(Refused::Forgiven));
    check("2a00:0:0:4::8", Err(Refused::Forgiven));
    check("20.4.0.2", Ok("20.4.0.2"));
    check("20.5.0.1", Err(Refused::InUse));
}

#[test]
fn who_is_forgiven_stays_so_whatever_the_server_says() {
    let mut engine = Engine::new(Policy::default());
    let day = Duration::from_secs(86_400);
    assert!(tells(&mut engine, "20.1.1.1", RECEIVED).is_ok());
    forgive(&mut engine, RECEIVED.after(day / 2), &[prefix("20.1.1.1")]);
    assert_eq!((engine.state.denies.len(), engine.state.received), (0, 0));
    for later in [RECEIVED.after(day / 2), RECEIVED.after(day * 400)] {
        assert_eq!(tells(&mut engine, "20.1.1.1", later), Err(Refused::Forgiven));
    }
    // Who forgives everybody begins anew, and means nobody.
    forgive(&mut engine, RECEIVED.after(day * 401), &Prefix::all());
    assert!(tells(&mut engine, "20.1.1.1", RECEIVED.after(day * 402)).is_ok());
    // So long as there are not so many that the oldest is forgotten.
    let many: Vec<_> =
        (0..FORGIVES_MAX as u32).map(|n| Prefix::host(std::net::Ipv4Addr::from_bits(0x1600_0000 + n))).collect();
    forgive(&mut engine, RECEIVED.after(day * 403), &[prefix("20.1.1.1")]);
    forgive(&mut engine, RECEIVED.after(day * 404), &many[1..]);
    assert_eq!(tells(&mut engine, "20.1.1.1", RECEIVED.after(day * 405)), Err(Refused::Forgiven));
    forgive(&mut engine, RECEIVED.after(day * 406), &many);
    assert!(tells(&mut engine, "20.1.1.1", RECEIVED.after(day * 407)).is_ok());
}

/// What we sent comes back; and what our logs and a server say of the same time is one sentence.
#[test]
fn a_sentence_is_served_once_whoever_else_speaks_of_it() {
    let day = Duration::from_secs(86_400);
    let mut engine = Engine::new(Policy { permanent_after: Some(9), ..Policy::default() });
    let one = prefix("20.1.1.1");
    let ours = |since: Timestamp, days: u32, basis: Basis| {
        let (class, threshold, parts, probation) = (Class::Root, 1, 0, false);
        let reason = Reason::Policy { class, count: 2, threshold, basis, parts, probation };
        let claim = Claim { since, until: Some(since.after(day * days)), reason, enforceable: true };
        Input::Claim { prefix: prefix("20.1.1.1"), by: Claimant::Policy, claim }
    };
    let times = |engine: &Engine| engine.state.released.get(&one).copied().unwrap_or(0);
    let mut now = RECEIVED;
    engine.step(now, ours(now, 1, Basis::Sound));
    assert_eq!(tells(&mut engine, "20.1.1.1", now), Err(Refused::Known));
    now = now.after(day * 3);
    engine.step(now, Input::Tick);
    assert_eq!((times(&engine), engine.state.denies.len()), (1, 0));
    // The server spoke first: whichever ends later counts, and once.
    for (days, want) in [(2, 2), (1, 3)] {
        assert!(tells(&mut engine, "20.1.1.1", now).is_ok());
        engine.step(now, ours(now, days, Basis::Sound));
        now = now.after(day * 3);
        engine.step(now, Input::Tick);
        assert_eq!((times(&engine), engine.state.denies.len()), (want, 0), "{days}");
    }
    // A purge ends both at once.
    assert!(tells(&mut engine, "20.1.1.1", now).is_ok());
    engine.step(now, ours(now, 2, Basis::Sound));
    engine.step(now, Input::Command(Command::Purge(now)));
    assert_eq!((times(&engine), engine.state.denies.len()), (4, 0));
    // What strangers may have made up is no sentence, and hides none.
    now = now.after(day);
    engine.step(now, ours(now, 2, Basis::Forgeable));
    assert!(tells(&mut engine, "20.1.1.1", now).is_ok());
    now = now.after(day * 3);
    engine.step(now, Input::Tick);
    assert_eq!((times(&engine), engine.state.denies.len()), (5, 0));
}

/// A hub that was poisoned has an undo, which takes nothing else with it.
#[test]
fn what_a_server_told_of_is_withdrawn_alone() {
    let mut engine = Engine::new(Policy::default());
    for address in ["20.1.1.1", "20.1.1.2", "20.1.1.3"] {
        assert!(tells(&mut engine, address, RECEIVED).is_ok());
    }
    let claim = Claim { since: RECEIVED, until: None, reason: Reason::Operator { because: None }, enforceable: true };
    engine.step(RECEIVED, Input::Claim { prefix: prefix("20.1.1.3"), by: Claimant::Operator, claim });
    let tally = Some(Tally { counts: [0, 3, 0, 0, 0], ..Tally::default() });
    engine.state.apply(&Change::Counted { prefix: prefix("20.1.1.2"), tally });
    let some = Some(vec![prefix("20.1.1.1"), prefix("20.9.9.9")]);
    engine.step(RECEIVED, Input::Command(Command::Distrust(some, None)));
    assert_eq!((engine.state.denies.len(), engine.state.received), (2, 2));
    engine.step(RECEIVED, Input::Command(Command::Distrust(None, None)));
    assert_eq!((engine.state.denies.len(), engine.state.received), (1, 0));
    assert!(engine.state.denies[&prefix("20.1.1.3")].claim(Claimant::Operator).is_some());
    assert_eq!(engine.state.tallies.get(&prefix("20.1.1.2")).map(|tally| tally.counts[1]), Some(3));
    // It may speak of them again: nobody was forgiven by name.
    assert!(tells(&mut engine, "20.1.1.1", RECEIVED).is_ok());
}

/// FAQ 4.12: as PURGE_DENY and PURGE_THRESHOLD say.
#[test]
fn such_denies_end_and_after_so_many_last_for_ever() {
    let check = |permanent_after: Option<u32>, ends: u32| {
        let mut engine = Engine::new(Policy { permanent_after, ..Policy::default() });
        let mut now = RECEIVED;
        for nth in 0..5 {
            assert!(tells(&mut engine, "20.1.1.1", now).is_ok());
            now = now.after(Duration::from_secs(2 * 86_400));
            engine.step(now, Input::Tick);
            engine.step(now, Input::Command(Command::Purge(now.before(Duration::from_secs(86_400)))));
            if engine.state.received > 0 {
                assert_eq!(nth, ends, "{permanent_after:?}");
                return;
            }
        }
        assert_eq!(ends, 5, "{permanent_after:?}");
        // It does not count against who fails here, where nothing is for ever.
        assert_eq!(engine.state.released.len(), usize::from(permanent_after.is_some()));
    };
    check(None, 5);
    check(Some(3), 3);
    check(Some(0), 0);
}

#[test]
fn a_flood_of_them_leaves_room_for_what_we_decide() {
    let mut engine = Engine::new(Policy::default());
    let address = |n: u32| std::net::Ipv4Addr::from_bits(0x1600_0000 + n).to_string();
    for n in 0..RECEIVED_MAX as u32 {
        assert!(tells(&mut engine, &address(n), RECEIVED).is_ok());
    }
    assert_eq!(tells(&mut engine, "20.1.1.1", RECEIVED), Err(Refused::Full));
    assert_eq!(engine.state.untold(crate::decide::state::Bound::Received), 1);
    engine.step(RECEIVED, Input::Command(Command::Forgive(vec![prefix(&address(0))], None)));
    assert!(tells(&mut engine, "20.1.1.1", RECEIVED).is_ok());
    assert_eq!(engine.state.received, RECEIVED_MAX);
}
