//! Disks that are full, broken or read-only when denyd starts, and what else may be wrong with a machine.

use nix::sys::signal::Signal;

use super::attack;
use super::denies::FILE;
use kit::until;
use kit::world::{Route, World, how};

const STATE: &str = "/var/lib/denyd";

/// A server whose state directory is a small disk of its own.
fn world(test: &str) -> Option<World> {
    let mut world = World::new(test)?;
    world.run(&["mkdir", "-p", STATE]);
    world.run(&["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", STATE]);
    world.start_sshd(Route::File);
    Some(world)
}

fn fill(world: &World) {
    world.run(&["sh", "-c", &format!("dd if=/dev/zero of={STATE}/filler bs=4k 2>/dev/null; true")]);
}

fn written(world: &World) {
    until("all to be written", || world.status().filter(|status| status["unwritten"] != true));
}

/// What is denied when the disk fails stays denied over a reboot, what comes then is denied too, and is written once the
/// disk is well.
fn keeps_the_door_shut(test: &str, said: &str, spoil: impl Fn(&World), mend: impl Fn(&World)) {
    let Some(mut world) = world(test) else { return };
    let mut denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    world.wait_count("198.51.100.1", "root", 2);
    denyd.signal(Signal::SIGKILL);
    denyd.wait();
    spoil(&world);
    world.run(&["nft", "flush", "ruleset"]);
    let mut denyd = world.start_denyd(None);
    denyd.wait_said(said);
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    assert_eq!(world.denied(), ["198.51.100.1"]);
    attack(&mut world, "198.51.100.2", &["root"], 2);
    until("the operator to be told", || world.status().filter(|status| status["unwritten"] == true));
    let output = world.denyd(&["forgive", "198.51.100.1"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("not yet written"), "{said}");
    assert!(world.attacker.banner("198.51.100.1").starts_with("SSH-2.0"), "it is forgiven");
    mend(&world);
    written(&world);
    denyd.signal(Signal::SIGKILL);
    assert_eq!(how(denyd.wait()), "signal 9");
    let _denyd = world.start_denyd(None);
    assert_eq!(world.denied(), ["198.51.100.2"]);
    assert_eq!(world.attacker.banner("198.51.100.2"), "silent");
}

#[test]
fn a_disk_that_is_full_at_the_start_opens_no_door() {
    let empty = |world: &World| _ = world.run(&["rm", &format!("{STATE}/filler")]);
    // The files are there, so that SQLite can open them.
    keeps_the_door_shut("a_disk_that_is_full_at_the_start_opens_no_door", "could not be kept", fill, empty);
}

#[test]
fn a_disk_that_is_read_only_at_the_start_opens_no_door() {
    let mount =
        |how: &'static str| move |world: &World| _ = world.run(&["mount", "-o", &format!("remount,{how}"), STATE]);
    let said = "the database cannot be opened";
    keeps_the_door_shut("a_disk_that_is_read_only_at_the_start_opens_no_door", said, mount("ro"), mount("rw"));
}

#[test]
fn a_disk_that_was_always_full_holds_up_no_deny() {
    let Some(mut world) = world("a_disk_that_was_always_full_holds_up_no_deny") else { return };
    fill(&world);
    let mut denyd = world.start_denyd(Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    world.run(&["rm", &format!("{STATE}/filler")]);
    written(&world);
    denyd.signal(Signal::SIGTERM);
    assert_eq!(how(denyd.wait()), "exit 0", "{}", denyd.said());
    let _denyd = world.start_denyd(None);
    assert_eq!(world.denied(), ["198.51.100.1"]);
}

/// The files of DenyHosts' work directory are the old ones, whole, until there is room; no deny waits for it.
#[test]
fn a_work_dir_whose_disk_is_full_keeps_its_old_files_and_holds_up_no_deny() {
    let Some(mut world) = world("a_work_dir_whose_disk_is_full_keeps_its_old_files_and_holds_up_no_deny") else {
        return;
    };
    const WORK: &str = "/run/work";
    world.run(&["mkdir", "-p", WORK]);
    world.run(&["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", WORK]);
    let config = format!("{FILE}\n[compat]\nwork_dir = \"{WORK}\"\n");
    let mut denyd = world.start_denyd(Some(&config));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    let has = |world: &World, address: &str| world.read(&format!("{WORK}/hosts-root")).contains(address).then_some(());
    until("the files are written", || has(&world, "198.51.100.1:"));
    world.run(&["sh", "-c", &format!("dd if=/dev/zero of={WORK}/filler bs=1k 2>/dev/null; true")]);
    let before = world.read(&format!("{WORK}/hosts-root"));
    attack(&mut world, "198.51.100.2", &["root"], 2);
    assert_eq!(world.attacker.banner("198.51.100.2"), "silent");
    let problem = |world: &World| Some(world.status()?["work_dir"]["problem"].as_str()?.to_owned());
    let problem = until("it is told", || problem(&world));
    assert!(problem.contains("No space left"), "{problem}");
    assert_eq!(world.read(&format!("{WORK}/hosts-root")), before);
    world.run(&["rm", &format!("{WORK}/filler")]);
    // A decision has it tried at once, and not half a minute later.
    attack(&mut world, "198.51.100.3", &["root"], 2);
    until("there is room again", || has(&world, "198.51.100.2:"));
    denyd.signal(Signal::SIGTERM);
    assert_eq!(how(denyd.wait()), "exit 0", "{}", denyd.said());
    assert_eq!(denyd.said().matches("the work directory cannot be written").count(), 1, "{}", denyd.said());
}

/// What answers reads and writes of the database with EIO while `/run/eio` is there.
const BROKEN_DISK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static int broken(int fd) {
    char link[32], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0 || access("/run/eio", F_OK)) return 0;
    path[n] = 0;
    return strstr(path, "/var/lib/denyd/") != NULL;
}
#define FAIL(kind, name, params, ...) kind name params { \
    static kind (*real) params; \
    if (!real) real = dlsym(RTLD_NEXT, #name); \
    if (broken(fd)) { errno = EIO; return -1; } \
    return real(__VA_ARGS__); }
FAIL(ssize_t, write, (int fd, const void *b, size_t n), fd, b, n)
FAIL(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), fd, b, n, o)
FAIL(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), fd, b, n, o)
FAIL(int, fsync, (int fd), fd)
FAIL(int, fdatasync, (int fd), fd)
"#;

#[test]
fn a_disk_that_breaks_opens_no_door() {
    let Some(mut world) = world("a_disk_that_breaks_opens_no_door") else { return };
    world.write("/run/eio.c", BROKEN_DISK);
    world.run(&["gcc", "-shared", "-fPIC", "-o", "/run/eio.so", "/run/eio.c", "-ldl"]);
    world.write("/etc/denyd/denyd.toml", FILE);
    let broken = ["env", "LD_PRELOAD=/run/eio.so"];
    let mut denyd = world.start_denyd_by(&broken, None);
    attack(&mut world, "198.51.100.1", &["root"], 2);
    world.write("/run/eio", "");
    attack(&mut world, "198.51.100.2", &["root"], 2);
    until("the operator to be told", || world.status().filter(|status| status["unwritten"] == true));
    denyd.wait_said("the database cannot be written");
    // The same when it starts so.
    denyd.signal(Signal::SIGKILL);
    denyd.wait();
    world.run(&["nft", "flush", "ruleset"]);
    let denyd = world.start_denyd_by(&broken, None);
    denyd.wait_said("the database cannot be opened");
    until("the records to be read again", || (world.denied() == ["198.51.100.1", "198.51.100.2"]).then_some(()));
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    world.run(&["rm", "/run/eio"]);
    written(&world);
}

/// Whatever the umask is, nobody else reads what people typed, nor changes who is denied.
#[test]
fn the_umask_opens_no_file() {
    let Some(mut world) = World::new("the_umask_opens_no_file") else { return };
    world.start_sshd(Route::File);
    world.write("/etc/hosts.deny", "");
    let socket = "control_socket = \"/run/elsewhere/control\"\n";
    let config = format!("{socket}deny.backends = [\"nftables\", \"hosts.deny\"]\n{FILE}");
    let _denyd = world.start_denyd_by(&["sh", "-c", "umask 0; exec \"$0\" \"$@\""], Some(&config));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    world.wait_count("198.51.100.1", "root", 2);
    let open = world.run(&[
        "find",
        STATE,
        "/run/denyd",
        "/run/elsewhere",
        "/etc/hosts.deny",
        "-perm",
        "/022",
        "-printf",
        "%m %p\n",
    ]);
    // Who may look connects to the socket, and asks; a group of that name may be there.
    let open = open.lines().filter(|line| *line != "660 /run/elsewhere/control");
    assert_eq!(open.collect::<Vec<_>>(), [""; 0]);
    let read = world.run(&["find", STATE, "-perm", "/077", "-printf", "%m %p\n"]);
    assert_eq!(read, "");
}

/// Others who may write the state directory could say who is allowed.
#[test]
fn a_state_directory_that_others_may_write_is_refused() {
    let Some(world) = World::new("a_state_directory_that_others_may_write_is_refused") else { return };
    world.write("/etc/denyd/denyd.toml", FILE);
    world.write("/var/log/auth.log", "");
    world.run(&["install", "-d", "-m", "770", STATE]);
    let mut denyd = world.spawn(&[&world.program(), "run"]);
    assert_eq!(how(denyd.wait()), "exit 2", "{}", denyd.said());
    let said = denyd.said();
    assert!(said.contains("its mode is 0770") && said.contains(&format!("chmod go-w {STATE}")), "{said}");
}

/// What moves the wall clock by the seconds that stand in `/run/clock`.
const OTHER_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, now);
    FILE *file = id == CLOCK_REALTIME ? fopen("/run/clock", "r") : NULL;
    long seconds = 0;
    if (file && fscanf(file, "%ld", &seconds) == 1) now->tv_sec += seconds;
    if (file) fclose(file);
    return done;
}
"#;

/// A leap of days releases nobody, neither at the start nor later, in the kernel either, and what comes then is denied.
#[test]
fn a_clock_that_leaps_releases_nobody() {
    let Some(mut world) = World::new("a_clock_that_leaps_releases_nobody") else { return };
    world.start_sshd(Route::File);
    world.write("/run/clock.c", OTHER_CLOCK);
    world.run(&["gcc", "-shared", "-fPIC", "-o", "/run/clock.so", "/run/clock.c", "-ldl"]);
    let preloaded = ["env", "LD_PRELOAD=/run/clock.so"];
    let leap = |world: &World, days: i64| world.write("/run/clock", &(days * 86_400).to_string());
    leap(&world, 0);
    let mut denyd = world.start_denyd_by(&preloaded, Some(FILE));
    attack(&mut world, "198.51.100.1", &["root"], 2);
    world.wait_count("198.51.100.1", "root", 2);
    denyd.signal(Signal::SIGTERM);
    denyd.wait();
    // A battery that is empty, and a firewall that begins anew.
    leap(&world, 30);
    world.run(&["nft", "flush", "ruleset"]);
    let denyd = world.start_denyd_by(&preloaded, None);
    denyd.wait_said("the clock is far from when the database was written last");
    assert_eq!(world.attacker.banner("198.51.100.1"), "silent");
    attack(&mut world, "198.51.100.2", &["root"], 2);
    for days in [-30, 0, 60, 0] {
        leap(&world, days);
        denyd.wait_said("the clock was set");
        world.run(&["nft", "flush", "ruleset"]);
        until("the denies to be back", || (world.attacker.banner("198.51.100.1") == "silent").then_some(()));
        assert_eq!(world.attacker.banner("198.51.100.2"), "silent", "{days} days");
    }
    assert_eq!(world.denied(), ["198.51.100.1", "198.51.100.2"]);
}

/// Those who may only look take no place of root's, however many come.
#[test]
fn root_has_places_of_its_own() {
    let Some(mut world) = World::new("root_has_places_of_its_own") else { return };
    world.run(&["groupadd", "denyd"]);
    world.start_sshd(Route::File);
    let _denyd = world.start_denyd(Some(FILE));
    // Each says nothing, which is waited for for five seconds: they come again and again.
    let crowd = "
import socket, time
held = []
def come():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect('/run/denyd/control')
    held.append(s)
    return s
for _ in range(64): come()
print(come().recv(200).decode(), flush=True)
while True:
    for _ in range(200): come()
    print('round', flush=True)
    time.sleep(0.1)
    del held[:-500]
";
    let nobody = ["setpriv", "--reuid=65534", "--regid=denyd", "--clear-groups", kit::world::python(), "-c", crowd];
    let crowd = world.spawn(&nobody);
    crowd.wait_said("64 others ask already; ask again in a moment");
    crowd.wait_said("round");
    for _ in 0..20 {
        assert!(world.denyd(&["status"]).status.success());
        assert!(world.denyd(&["deny", "198.51.100.1"]).status.success());
        assert!(world.denyd(&["forgive", "198.51.100.1"]).status.success());
    }
    assert!(crowd.is_running(), "{}", crowd.said());
}

/// Two daemons would undo each other's work in one table, whatever else they have of their own.
#[test]
fn a_second_daemon_with_the_same_table_is_refused() {
    let Some(mut world) = World::new("a_second_daemon_with_the_same_table_is_refused") else { return };
    world.start_sshd(Route::File);
    let denyd = world.start_denyd(Some(FILE));
    let pid = world.status().unwrap()["pid"].to_string();
    let other = "state_dir = \"/var/lib/other\"\ncontrol_socket = \"/run/other\"\n";
    let run = |more: &str| {
        world.write("/etc/denyd/other.toml", &format!("{other}{more}{FILE}"));
        world.spawn(&[&world.program(), "--config", "/etc/denyd/other.toml", "run"])
    };
    let mut second = run("");
    assert_eq!(how(second.wait()), "exit 2", "{}", second.said());
    let said = second.said();
    assert!(said.contains(&format!("another denyd (pid {pid}) keeps table inet denyd")), "{said}");
    let second = run("deny.nftables.table = \"other\"\n");
    until("the second to run beside it", || world.run(&["nft", "list", "tables"]).contains("inet other").then_some(()));
    // Nor does it come to that table by a reload.
    world.write("/etc/denyd/other.toml", &format!("{other}{FILE}"));
    let output = world.denyd(&["--config", "/etc/denyd/other.toml", "reload"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let refused = format!("another denyd (pid {pid}) keeps table inet denyd");
    assert!(output.status.code() == Some(2) && said.contains(&refused), "{said}");
    assert!(second.is_running() && denyd.is_running());
}
