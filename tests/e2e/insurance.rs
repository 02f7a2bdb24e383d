//! Whom a deny must not lock out: real logins that last, while somebody mistypes beside them.

use std::time::Duration;

use super::denies::FILE;
use kit::until;
use kit::world::{BOUND, Place, Route, SERVER, World};

/// How long a session that is cut is given to answer all the same.
const CUT: Duration = Duration::from_secs(2);

const ROOT: (&str, &str) = ("root", "Tb-Root-1");
const USER: (&str, &str) = ("tbuser", "Tb-Right-1");

/// Denies an address by one more failure of root than there were.
fn one_too_many(world: &mut World, source: &str) {
    assert!(world.attacker.banner(source).starts_with("SSH-2.0"), "{source} is denied too early");
    let mut last = world.attacker.another();
    last.start(source, serde_json::json!({"do": "login", "user": "root", "tries": ["wrong"]}));
    until("the address to be denied", || (world.attacker.banner(source) == "silent").then_some(()));
}

/// The connections of denied addresses that the kernel lets through.
fn kept(world: &World) -> String {
    let listed = world.run(&["nft", "list", "set", "inet", "denyd", "keep4"]);
    listed.split_once("elements = {").map_or("", |(_, elements)| elements.trim()).to_owned()
}

#[test]
fn a_root_who_is_logged_in_mistypes_and_keeps_the_session() {
    let Some(mut world) = World::new("a_root_who_is_logged_in_mistypes_and_keeps_the_session") else { return };
    world.start_sshd(Route::File);
    let denyd = world.start_denyd(Some(FILE));
    let source = "198.51.100.7";
    let mut root = world.log_in(Place::Attacker, source, ROOT);
    // Two failures deny anybody else.
    (0..2).for_each(|_| world.attacker.fail(source, "root"));
    world.wait_count(source, "root", 2);
    denyd.wait_said("from where somebody is logged in");
    let spared = world.status().unwrap()["spared"].clone();
    assert_eq!((&spared[0]["prefix"], &spared[0]["user"]), (&source.into(), &"root".into()), "{spared}");
    assert!(world.ssh(Place::Attacker, source, USER.1), "nothing is lost");
    (0..4).for_each(|_| world.attacker.fail(source, "root"));
    world.wait_count(source, "root", 6);
    assert_eq!(world.denied(), [""; 0]);
    // Three times as many as others may are too many: the session lives, and no other begins.
    one_too_many(&mut world, source);
    assert_eq!(world.denied(), [source]);
    assert!(root.answers(BOUND), "the session lives");
    assert!(!world.ssh(Place::Attacker, source, USER.1));
    assert!(root.answers(BOUND));
    root.leave();
    until("the exception to be taken away with the session", || kept(&world).is_empty().then_some(()));
    assert_eq!(world.attacker.banner(source), "silent");
}

#[test]
fn any_session_lives_while_its_address_is_denied_but_for_a_person() {
    let Some(mut world) = World::new("any_session_lives_while_its_address_is_denied_but_for_a_person") else { return };
    world.start_sshd(Route::File);
    let mut denyd = world.start_denyd(Some(FILE));
    let source = "198.51.100.8";
    let [mut user, mut other] = [(); 2].map(|()| world.log_in(Place::Attacker, source, USER));
    world.attacker.fail(source, "root");
    one_too_many(&mut world, source);
    assert!(user.answers(BOUND) && other.answers(BOUND), "both sessions live");
    other.leave();
    until("one exception to be left", || (kept(&world).matches(" . ").count() == 1).then_some(()));
    assert!(user.answers(BOUND));
    // Neither a restart nor a crash cuts it, nor does what others do to the table.
    denyd.signal(nix::sys::signal::Signal::SIGKILL);
    denyd.wait();
    assert!(user.answers(BOUND));
    let _denyd = world.start_denyd(None);
    assert!(user.answers(BOUND));
    world.run(&["nft", "flush", "ruleset"]);
    until("the table to be back", || (world.attacker.banner(source) == "silent").then_some(()));
    assert!(user.answers(BOUND));
    // Whom a person denies is to be gone.
    assert!(world.denyd(&["deny", source]).status.success());
    until("no exception to be left", || kept(&world).is_empty().then_some(()));
    assert!(!user.answers(CUT), "a person's deny spares no session");
}

/// A box that was broken into guesses, and tells of it all the same.
#[test]
fn a_log_sender_that_is_denied_is_still_heard() {
    let Some(mut world) = World::new("a_log_sender_that_is_denied_is_still_heard") else { return };
    world.start_sshd(Route::File);
    let listener = format!("kind = \"syslog\"\nlisten = \"tcp://{SERVER}:514\"\nfrom = [\"198.51.100.0/24\"]\n");
    let mut denyd = world.start_denyd(Some(&format!("deny.cut_connections = true\n{FILE}\n[[input]]\n{listener}")));
    let source = "198.51.100.11";
    let line = |guesser: &str| {
        let now = jiff::Timestamp::now();
        format!("<38>1 {now} web1 sshd 7 - - Failed password for root from {guesser} port 22 ssh2\n")
    };
    let send = |world: &mut World, guesser: &str| {
        world.attacker.ask(source, serde_json::json!({"do": "raw", "port": 514, "send": line(guesser)}));
        world.wait_count(guesser, "root", 1);
    };
    let mut old = world.attacker.another();
    old.ask(source, serde_json::json!({"do": "hold", "port": 514}));
    old.ask(source, serde_json::json!({"do": "say", "send": line("192.0.2.1")}));
    world.wait_count("192.0.2.1", "root", 1);
    world.attacker.fail(source, "root");
    one_too_many(&mut world, source);
    assert_eq!(world.denied(), [source]);
    old.ask(source, serde_json::json!({"do": "say", "send": line("192.0.2.2")}));
    world.wait_count("192.0.2.2", "root", 1);
    send(&mut world, "192.0.2.3");
    // It connects again when denyd was away.
    denyd.signal(nix::sys::signal::Signal::SIGKILL);
    denyd.wait();
    let _denyd = world.start_denyd(None);
    send(&mut world, "192.0.2.4");
    assert_eq!(world.attacker.banner(source), "silent", "for all else it is denied like anybody");
}

#[test]
fn an_office_that_mistypes_is_out_for_ten_minutes() {
    let Some(mut world) = World::new("an_office_that_mistypes_is_out_for_ten_minutes") else { return };
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(FILE));
    let minutes = |world: &World, source: &str| {
        let rows = world.denyd_json(&["list", "hosts", "--json"]);
        let row = rows.as_array().unwrap().iter().find(|row| row["prefix"] == source).unwrap().clone();
        let at = |key: &str| row[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        (at("until").as_second() - at("since").as_second()) / 60
    };
    let [office, stranger] = ["198.51.100.9", "198.51.100.10"];
    for _ in 0..10 {
        assert_eq!(world.attacker.login(office), "ok");
    }
    for source in [office, stranger] {
        (0..10).for_each(|_| world.attacker.fail(source, "tbuser"));
        world.wait_count(source, "valid", 10);
        let mut last = world.attacker.another();
        last.start(source, serde_json::json!({"do": "login", "user": "tbuser", "tries": ["wrong"]}));
        until("the address to be denied", || (world.attacker.banner(source) == "silent").then_some(()));
    }
    assert_eq!((minutes(&world, office), minutes(&world, stranger)), (10, 7 * 24 * 60));
}

/// The one who tries it is the one who would be locked out.
#[test]
fn a_policy_is_tried_from_afar() {
    let Some(mut world) = World::new("a_policy_is_tried_from_afar") else { return };
    world.start_sshd(Route::File);
    let denyd = world.start_denyd(Some(FILE));
    let (source, program) = ("198.51.100.11", world.program());
    let strict = format!("decide.threshold_root = 0\ndecide.protect_groups = []\n{FILE}");
    let run = |world: &World, options: &[&str], verb: &str| {
        let output = world.over_ssh(Place::Attacker, source, ROOT, options, &format!("{program} {verb}"));
        let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
        (output.status.code(), said)
    };
    // A connection that is shared is one that was there before.
    let shared = ["-o", "ControlMaster=auto", "-o", "ControlPath=/tmp/trial", "-o", "ControlPersist=yes"];
    world.write("/etc/denyd/denyd.toml", &strict);
    let (code, said) = run(&world, &shared, "reload --confirm 1m");
    assert!(code == Some(0) && said.contains("not kept yet"), "{said}");
    let (code, said) = run(&world, &shared, "keep");
    assert!(code == Some(2) && said.contains("had begun before the order"), "{said}");
    let (code, said) = run(&world, &[], "keep");
    assert!(code == Some(0) && said.contains("is kept, and holds"), "{said}");
    // One that nobody keeps: whom it denied gets in again.
    let other = "198.51.100.12";
    world.write("/etc/denyd/denyd.toml", &format!("deny.ports = [22]\n{strict}"));
    assert_eq!(run(&world, &[], "reload --confirm 3s").0, Some(0));
    one_too_many(&mut world, other);
    until("it goes back", || world.attacker.banner(other).starts_with("SSH-2.0").then_some(()));
    assert_eq!(world.denied(), [""; 0]);
    denyd.wait_said("the configuration that was before the trial holds again");
}
