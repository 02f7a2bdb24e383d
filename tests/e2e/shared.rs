//! Two machines and a hub: who is denied by one's log is dropped by the other's kernel.

use std::process::Output;

use serde_json::Value;

use super::attack;
use super::denies::FILE;
use kit::until;
use kit::world::{ADMIN, Place, Process, Route, SERVER, SERVER6, World, python};

/// The attacker, by an address of the internet: nobody shares those of examples.
const SOURCE: &str = "20.9.9.1";
/// Connects from one address to a port of another where nobody listens, and says what comes of it.
const CONNECT: &str = "import socket, sys
s = socket.socket()
s.bind((sys.argv[1], 0))
s.settimeout(2)
try:
    s.connect((sys.argv[2], 22))
except ConnectionRefusedError:
    print('refused')
except TimeoutError:
    print('silent')
";
/// The other machine's configuration: a table of its own name, since one lock holds for each on a machine.
const OTHER: &str = "/etc/denyd/other.toml";

fn other(world: &World, arguments: &[&str]) -> Output {
    let program = world.program();
    let command = [&[&*program, "--config", OTHER], arguments].concat();
    world.enter(Place::Admin, &command).output().unwrap()
}

/// A round, once it is not too soon after the last one.
fn sync(what: &str, ask: impl Fn() -> Output) -> Value {
    until(what, || {
        let output = ask();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() || error.contains("ask again then"), "{what}: {error}");
        serde_json::from_slice(&output.stdout).ok()
    })
}

#[test]
fn who_one_machine_denies_another_drops_on_the_hubs_word() {
    let Some(mut world) = World::new("who_one_machine_denies_another_drops_on_the_hubs_word") else { return };
    world.run(&["ip", "-n", "att", "route", "add", "local", "20.9.9.0/24", "dev", "lo"]);
    world.run(&["ip", "route", "add", "20.9.9.0/24", "via", "203.0.113.10"]);
    world.run(&["ip", "-n", "att2", "route", "add", "20.9.9.0/24", "via", "203.0.113.10"]);
    let hub = "listen = \"[::]:9911\"\nstate_dir = \"/var/lib/hub\"\nfrom = [\"203.0.113.0/24\", \"2001:db8::/64\"]\n";
    world.write("/etc/hub.toml", hub);
    let _hub = world.spawn(&[&world.program(), "--config", "/etc/hub.toml", "hub"]);
    until("the hub to listen", || world.path("/var/lib/hub/status.json").exists().then_some(()));
    world.start_sshd(Route::File);
    let shares = |server: &str| format!("[sync]\nserver = \"http://{server}:9911\"\nthreshold = 1\n");
    let _one = world.start_denyd(Some(&format!("{}{FILE}", shares(SERVER))));
    let own = "state_dir = \"/var/lib/other\"\ncontrol_socket = \"/run/other\"\nspare_machine = false\ndeny.nftables.table = \"other\"\n\
               deny.backends = [\"nftables\"]\n";
    let configure = |world: &World, server: &str| {
        let nobody = "[[input]]\nkind = \"file\"\npath = \"/var/log/other.log\"\n";
        world.write(OTHER, &format!("{own}{}{nobody}", shares(server)));
    };
    configure(&world, SERVER);
    world.write("/var/log/other.log", "");
    let _other = Process::new(&mut world.enter(Place::Admin, &[&world.program(), "--config", OTHER, "run"]));
    until("the other one to enforce, after its first round", || {
        let status: Value = serde_json::from_slice(&other(&world, &["status", "--json"]).stdout).ok()?;
        let enforces = status["backends"].as_array()?.iter().all(|one| !one["replaced"].is_null());
        (enforces && status["sync"]["succeeded"].is_string()).then_some(())
    });
    let connects = |world: &World| {
        let output = world.enter(Place::Attacker, &[python(), "-c", CONNECT, SOURCE, ADMIN]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };

    attack(&mut world, SOURCE, &["root"], 2);
    assert_eq!(connects(&world), "refused", "the other one knows nothing yet");
    until("the first one has sent it", || {
        let done = sync("a round of the first", || world.denyd(&["sync", "--json"]));
        (done["sent"] == 1).then_some(())
    });
    let done = sync("a round of the other", || other(&world, &["sync", "--json"]));
    assert_eq!((&done["received"], &done["denied"]), (&1.into(), &1.into()), "{done}");
    until("the other one's kernel to drop it", || (connects(&world) == "silent").then_some(()));
    let why = String::from_utf8(other(&world, &["why", SOURCE]).stdout).unwrap();
    assert!(why.contains(&format!("the server {SERVER}:9911 told of it: at least 1 ")), "{why}");

    assert!(other(&world, &["forgive", SOURCE]).status.success());
    until("it to be let in again", || (connects(&world) == "refused").then_some(()));
    // By another name the hub is another server, which is asked for all that it knows.
    configure(&world, &format!("[{SERVER6}]"));
    let reload = other(&world, &["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    let counted = |what: &str| -> u64 {
        let status: Value = serde_json::from_slice(&other(&world, &["status", "--json"]).stdout).unwrap();
        status["sync"]["refused"][what].as_u64().unwrap()
    };
    until("the hub to tell of it again", || (counted("forgiven") == 1).then_some(()));
    sync("one more round", || other(&world, &["sync", "--json"]));
    assert_eq!(connects(&world), "refused", "forgiven stays forgiven");
    assert_eq!(world.attacker.banner(SOURCE), "silent", "the first one forgave nobody");
}
