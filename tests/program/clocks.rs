//! A deny never ends before it begins, whatever zone the stamps are of: every zone, every kind of input, live, after an
//! outage, and both mixed. The clock of the table is its own; daemons that run have a few of its cells.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use denyd::decide::claim::{Claimant, FORGEABLE_FOR};
use denyd::decide::engine::Engine;
use denyd::decide::policy::Policy;
use denyd::decide::prefix::Prefix;
use denyd::intake::{Counts, Source, fold};
use inputs::journald::stored::{Kind, Reader};
use inputs::record::{Batch, Sender, SourceId, Timestamp};
use inputs::syslog::parse::{Format, Parser};
use jiff::tz::TimeZone;
use kit::Home;
use serde_json::Value;

/// 2026-11-22T00:00:00Z.
const NOW: i64 = 1_795_305_600;
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
/// What is denied for how long.
const TIMES: [i64; 3] = [10 * MINUTE, HOUR, 7 * 24 * HOUR];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    File,
    Journal,
    Udp,
    Tcp,
}

/// What is folded, and from where.
struct World {
    way: Way,
    engine: Engine,
    source: Source,
    counts: Counts,
    /// How far ahead its zone is, in seconds.
    zone: i64,
    /// For how long is denied.
    time: i64,
}

impl World {
    fn new(way: Way, zone: i64, time: i64) -> Self {
        let deny_for = Some(Duration::from_secs(time.unsigned_abs()));
        let mut source = Source::new(SourceId(0), None, "here");
        source.forgeable = way == Way::Udp;
        let engine = Engine::new(Policy { deny_for, ..Policy::default() });
        let time = if way == Way::Udp { time.min(FORGEABLE_FOR.as_secs() as i64) } else { time };
        World { way, engine, source, counts: Counts::default(), zone, time }
    }

    /// Records that came together, each by when it was written and what it says.
    fn come(&mut self, came: i64, live: bool, records: &[(i64, String)]) {
        let stamps = records.iter().map(|(written, _)| written + self.zone);
        let mut batch = if self.way == Way::Journal { journal(stamps, records) } else { lines(came, stamps, records) };
        (batch.received, batch.live) = (Timestamp::from_secs(came), live);
        let peer = |last: u8| Sender::Peer(IpAddr::from([192, 0, 2, last]));
        match self.way {
            Way::File | Way::Journal => {}
            Way::Udp => batch.senders = vec![peer(1)],
            Way::Tcp => batch.senders = vec![peer(2)],
        }
        fold(&mut self.engine, &mut self.source, &batch, &mut self.counts, |_, _| {});
    }

    /// When the deny of an attacker ends.
    fn until(&self, attacker: u8) -> i64 {
        let prefix: Prefix = address(attacker).parse().unwrap();
        let deny = self.engine.state.denies.get(&prefix);
        let claim = deny.and_then(|deny| deny.claim(Claimant::Policy));
        let until = claim.and_then(|claim| claim.until).map(Timestamp::secs);
        until.unwrap_or_else(|| panic!("{attacker} was not denied: {self}"))
    }

    /// An attacker's deny is to last from `from`, to the second of a stamp that has whole ones.
    #[track_caller]
    fn lasts(&self, attacker: u8, from: i64) {
        let found = self.until(attacker) - from - self.time;
        assert!((-2..=0).contains(&found), "attacker {attacker} of {self}: the end is {found} s off");
    }
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, zone {} min, denied for {} s", self.way, self.zone / MINUTE, self.time)
    }
}

fn lines(came: i64, stamps: impl Iterator<Item = i64>, records: &[(i64, String)]) -> Batch {
    let lines = stamps.zip(records).enumerate().map(|(n, (stamp, (_, message)))| {
        let stamp = jiff::Timestamp::from_second(stamp).unwrap().strftime("%b %e %H:%M:%S");
        format!("{stamp} web sshd[{}]: {message}", n + 1)
    });
    let lines: Vec<_> = lines.collect();
    let mut parser = Parser::new(Format::Auto, TimeZone::UTC);
    parser.batch(Timestamp::from_secs(came), lines.iter().map(|line| line.as_bytes()))
}

fn journal(stamps: impl Iterator<Item = i64>, records: &[(i64, String)]) -> Batch {
    let entry = |(n, (stamp, (_, message))): (usize, (i64, &(i64, String)))| {
        format!(
            "__REALTIME_TIMESTAMP={stamp}000000\n_HOSTNAME=web\n_UID=0\n_TRANSPORT=syslog\nSYSLOG_IDENTIFIER=sshd\n\
             _PID={}\nMESSAGE={message}\n\n",
            n + 1
        )
    };
    let export: String = stamps.zip(records).enumerate().map(entry).collect();
    let mut reader = Reader::stream(Kind::Export, std::io::Cursor::new(export), Path::new("-")).unwrap();
    let mut batch = Batch::default();
    reader.fill(&mut batch).unwrap();
    assert_eq!(batch.len(), records.len());
    batch
}

fn address(attacker: u8) -> String {
    format!("198.51.100.{attacker}")
}

/// One more try of root's password: the second denies.
fn try_root(attacker: u8) -> String {
    format!("Failed password for root from {} port {} ssh2", address(attacker), 1_000 + u16::from(attacker))
}

/// What says nothing.
fn nothing() -> String {
    "Server listening on 0.0.0.0 port 22.".to_owned()
}

/// Records come as they are written; an attacker first of all, one within the time that it takes to know the clock, one
/// behind it.
fn live(world: &mut World, begin: i64) {
    for second in 0..60 {
        let now = begin + second;
        let message = match second {
            0 | 1 => try_root(1),
            20 | 21 => try_root(2),
            50 | 51 => try_root(3),
            _ => nothing(),
        };
        world.come(now, true, &[(now, message)]);
    }
    for (attacker, second) in [(1, 1), (2, 21), (3, 51)] {
        world.lasts(attacker, begin + second);
    }
}

/// What an outage of three hours kept back comes at once; an attacker was there two hours ago, another one just now.
fn backlog(world: &mut World, now: i64, live: bool, zone_is_known: bool) {
    let written = |n: i64| now - 3 * HOUR + n * 30;
    let message = |n| match n {
        120 | 121 => try_root(4),
        355 | 356 => try_root(5),
        _ => nothing(),
    };
    let records: Vec<_> = (0..360).map(|n| (written(n), message(n))).collect();
    world.come(now, live, &records);
    for (attacker, n) in [(4, 121), (5, 356)] {
        let at = if zone_is_known { written(n) } else { written(n) + world.zone };
        world.lasts(attacker, at.min(now));
    }
}

/// The zones that there are, and those between them.
fn zones() -> impl Iterator<Item = i64> {
    (-12 * 4..=14 * 4).map(|quarter| quarter * 15 * MINUTE)
}

fn worlds() -> impl Iterator<Item = World> {
    let ways = [Way::File, Way::Journal, Way::Udp, Way::Tcp];
    zones().flat_map(move |zone| ways.into_iter().flat_map(move |way| TIMES.map(|time| World::new(way, zone, time))))
}

#[test]
fn a_live_deny_lasts_from_when_its_record_came() {
    let mut count = 0;
    for mut world in worlds() {
        live(&mut world, NOW);
        let skew = world.source.senders.rows()[0].skew();
        assert_eq!(skew.unwrap_or(0) / 1_000_000, world.zone, "{world}");
        count += 1;
    }
    assert_eq!(count, 105 * 4 * 3);
}

#[test]
fn a_backlog_is_as_old_as_its_stamps() {
    for mut world in worlds() {
        // What is read at a start, and what a sender sends again when it can.
        let live = matches!(world.way, Way::Udp | Way::Tcp);
        backlog(&mut world, NOW, live, false);
    }
}

#[test]
fn a_backlog_and_what_is_live_are_told_apart() {
    for mut world in worlds() {
        // The outage first, and when it is over, what is live.
        let is_socket = matches!(world.way, Way::Udp | Way::Tcp);
        backlog(&mut world, NOW, is_socket, false);
        // For three seconds nobody can tell that it is over.
        world.come(NOW + 5, true, &[(NOW + 5, nothing())]);
        live(&mut world, NOW + 8);
    }
    for mut world in worlds() {
        // The clock is known, then an outage, then what is live between what it held back.
        live(&mut world, NOW);
        backlog(&mut world, NOW + 4 * HOUR, true, true);
        let now = NOW + 4 * HOUR;
        for n in 0..20 {
            let attack = |begin, attacker| if (begin..begin + 2).contains(&n) { try_root(attacker) } else { nothing() };
            let (old, new) = ((now - HOUR + n * MINUTE, attack(10, 6)), (now, attack(18, 7)));
            world.come(now, true, &[old, new]);
        }
        world.lasts(6, now - HOUR + 11 * MINUTE);
        world.lasts(7, now);
    }
}

/// imfile looks every ten seconds, a job once a minute: what was written meanwhile comes at once. An attacker before the
/// clock is known, and one behind that.
#[test]
fn bursts_make_no_deny_void() {
    for mut world in worlds() {
        for period in [10, 60] {
            world = World::new(world.way, world.zone, world.time);
            for burst in 1..=(15 * MINUTE / period) {
                let (from, now) = (NOW + (burst - 1) * period, NOW + burst * period);
                let message = |second| match second - NOW {
                    64 | 65 => try_root(1),
                    724 | 725 => try_root(2),
                    _ => nothing(),
                };
                let records: Vec<_> = (from + 1..=now).map(|second| (second, message(second))).collect();
                world.come(now, true, &records);
            }
            // Until then from when it came, unless that was hardly late; afterwards from when it was written.
            let came = NOW + (65 + period - 1) / period * period;
            world.lasts(1, if world.zone == 0 { NOW + 65 } else { came });
            world.lasts(2, NOW + 725);
            let skew = world.source.senders.rows()[0].skew();
            assert_eq!(skew.unwrap_or(0) / 1_000_000, world.zone, "{world}");
        }
    }
}

/// A sender that hardly speaks is judged by three records, and its denies last from when they came all the same.
#[test]
fn a_slow_attacker_is_denied_for_the_whole_time() {
    for mut world in worlds() {
        for n in 0..4 {
            let attacker = if n < 2 { 1 } else { 2 };
            let now = NOW + n * 6 * MINUTE;
            world.come(now, true, &[(now, try_root(attacker))]);
        }
        world.lasts(1, NOW + 6 * MINUTE);
        world.lasts(2, NOW + 18 * MINUTE);
        let skew = world.source.senders.rows()[0].skew();
        assert_eq!(skew.unwrap_or(0) / 1_000_000, world.zone, "{world}");
    }
}

/// What waits for another line, and is decided when that does not come, is late as well.
#[test]
fn what_is_decided_late_lasts_from_when_it_came() {
    for mut world in worlds().filter(|world| world.time >= HOUR) {
        let pam = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser=";
        let pam = format!("{pam} rhost={}  user=root", address(1));
        world.come(NOW, true, &[(NOW, pam.clone())]);
        world.come(NOW + 11, true, &[(NOW + 11, pam.clone()), (NOW + 11, nothing())]);
        world.come(NOW + 22, true, &[(NOW + 22, nothing()), (NOW + 23, nothing())]);
        world.come(NOW + 160, true, &[(NOW + 160, nothing())]);
        world.lasts(1, NOW + 11);
    }
}

/// What strangers may have made up moves no clock and no deny of a source that is sound, though it says the same host.
#[test]
fn forged_stamps_move_no_sound_deny() {
    for zone in zones() {
        let mut sound = World::new(Way::File, 0, 7 * 24 * HOUR);
        let pam = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser=";
        let pam = format!("{pam} rhost={}  user=root", address(1));
        let mut forged = World::new(Way::Udp, zone, 7 * 24 * HOUR).source;
        for second in 0..200 {
            let now = NOW + second;
            // Both are told to one engine.
            std::mem::swap(&mut sound.source, &mut forged);
            (sound.way, sound.zone) = (Way::Udp, zone);
            sound.come(now, true, &[(now, nothing())]);
            std::mem::swap(&mut sound.source, &mut forged);
            (sound.way, sound.zone) = (Way::File, 0);
            let message = if [0, 11].contains(&second) { pam.clone() } else { nothing() };
            sound.come(now, true, &[(now, message)]);
        }
        sound.lasts(1, NOW + 11);
        assert_eq!(sound.source.senders.rows()[0].skew(), None);
        assert_eq!(forged.senders.rows()[0].skew().unwrap_or(0) / 1_000_000, zone);
    }
}

/// A real daemon with one input of each kind, each of which has stamps of another zone.
struct Real<'a> {
    home: &'a Home,
    udp: UdpSocket,
    tcp: TcpStream,
    entries: u64,
}

/// How far ahead each one's stamps are, and which of the daemon's inputs it is.
const INPUTS: [(Way, i64); 4] =
    [(Way::File, -5 * HOUR), (Way::Journal, 5 * HOUR + 45 * MINUTE), (Way::Udp, -12 * HOUR), (Way::Tcp, 14 * HOUR)];

impl<'a> Real<'a> {
    /// Once it listens, and has read all that there is.
    fn new(home: &'a Home, udp: u16, tcp: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", udp)).unwrap();
        let tcp = kit::until("it listens", || TcpStream::connect(("127.0.0.1", tcp)).ok());
        kit::until("it follows", || home.ask(&["status"])?["inputs"][0]["cursor"].is_object().then_some(()));
        Real { home, udp: socket, tcp, entries: 0 }
    }

    /// Writes a message now, with the stamp of its zone.
    fn write(&mut self, way: Way, zone: i64, message: &str) {
        let stamp = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + zone).unwrap();
        let text = stamp.strftime("%b %e %H:%M:%S");
        let line = format!("{text} web sshd[7]: {message}\n");
        match way {
            Way::File => self.home.append(line.as_bytes()),
            Way::Udp => _ = self.udp.send(format!("<38>{}", line.trim_end()).as_bytes()).unwrap(),
            Way::Tcp => self.tcp.write_all(format!("<38>{line}").as_bytes()).unwrap(),
            Way::Journal => {
                self.entries += 1;
                let (id, micros) = ("d3a1c2cfe4b34c3c9d4e5f60718293a4", stamp.as_microsecond());
                let cursor = format!("s={id};i={:x};b={id};m=1;t={micros:x};x=1", self.entries);
                let entry = format!(
                    "__CURSOR={cursor}\n__REALTIME_TIMESTAMP={micros}\n_HOSTNAME=web\n_UID=0\n_TRANSPORT=syslog\n\
                     SYSLOG_IDENTIFIER=sshd\n_PID=7\nMESSAGE={message}\n\n"
                );
                let mut export = fs::OpenOptions::new().append(true).open(self.home.path("export")).unwrap();
                export.write_all(entry.as_bytes()).unwrap();
            }
        }
    }

    /// An attacker on each input; all are denied for an hour from now.
    fn attack(&mut self, first: u8) {
        let began = jiff::Timestamp::now().as_second();
        for (attacker, (way, zone)) in (first..).zip(INPUTS) {
            self.write(way, zone, &try_root(attacker));
            self.write(way, zone, &try_root(attacker));
        }
        for (attacker, (way, _)) in (first..).zip(INPUTS) {
            let start = format!("deny {} until ", address(attacker));
            let until = kit::until_or(
                &format!("{way:?}: {start}"),
                || self.home.stderr(),
                || {
                    let stdout = self.home.stdout();
                    let line = stdout.lines().find_map(|line| line.strip_prefix(&start))?;
                    line.parse::<jiff::Timestamp>().ok()
                },
            );
            let now = jiff::Timestamp::now().as_second();
            assert!((began + HOUR - 2..=now + HOUR).contains(&until.as_second()), "{way:?}: {until}");
        }
    }
}

#[test]
fn daemons_that_run() {
    let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (udp, tcp) = (port(), port());
    let home = Home::new(&format!(
        "decide.deny_for = \"1h\"\n\
         [[input]]\nkind = \"file\"\nname = \"file\"\npath = \"DIR/log\"\ntimezone = \"UTC\"\n\
         [[input]]\nkind = \"journald\"\nname = \"journal\"\nreader = \"journalctl\"\nfirst_read = \"beginning\"\n\
         [[input]]\nkind = \"syslog\"\nname = \"udp\"\nlisten = \"udp://127.0.0.1:{udp}\"\ntrust_network = true\ntimezone = \"UTC\"\n\
         [[input]]\nkind = \"syslog\"\nname = \"tcp\"\nlisten = \"tcp://127.0.0.1:{tcp}\"\ntrust_network = true\ntimezone = \"UTC\"\n"
    ));
    fs::write(home.log(), "").unwrap();
    fs::write(home.path("export"), "").unwrap();
    fs::create_dir(home.path("bin")).unwrap();
    let journalctl = home.path("bin/journalctl");
    fs::write(&journalctl, format!("#!/bin/sh\nexec tail -n +1 -f {}\n", home.path("export").display())).unwrap();
    fs::set_permissions(&journalctl, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = home.start();
    let mut real = Real::new(&home, udp, tcp);
    real.attack(1);
    // A record a second, until all clocks are known.
    let skews = |status: &Value| {
        let inputs = status["inputs"].as_array().unwrap();
        inputs.iter().map(|input| input["skew_s"].as_f64()).collect::<Option<Vec<_>>>()
    };
    let mut next = Instant::now();
    let found = kit::until_or(
        "all clocks to be known",
        || format!("{:?}", home.ask(&["status"])),
        || {
            if Instant::now() < next {
                return None;
            }
            next += Duration::from_secs(1);
            INPUTS.iter().for_each(|(way, zone)| real.write(*way, *zone, &nothing()));
            let status = home.ask(&["status"]).unwrap();
            skews(&status)
                .filter(|_| status["inputs"].as_array().unwrap().iter().all(|one| one["records"].as_u64() >= Some(32)))
        },
    );
    for ((way, zone), skew) in INPUTS.iter().zip(found) {
        assert!((skew - *zone as f64).abs() < 3.0, "{way:?}: {skew} s for {zone}");
    }
    real.attack(11);
    let denied = home.history();
    assert!(denied.iter().all(|row| row["decision"] == "denied" && row["enforced"] == true), "{denied:?}");
    let doctor = String::from_utf8(home.denyd(&["doctor"]).output().unwrap().stdout).unwrap();
    assert_eq!(doctor.matches("timezone = ").count(), 4, "{doctor}");
    let status = String::from_utf8(home.denyd(&["status"]).output().unwrap().stdout).unwrap();
    for clock in ["5:00 h behind", "5:45 h ahead", "12:00 h behind", "14:00 h ahead"] {
        assert!(status.contains(clock), "{clock}: {status}");
    }
    let names = |count| {
        let all = || (home.stderr().matches("say `timezone =`").count() == count).then_some(());
        kit::until("the log names all", all);
    };
    names(4);
    daemon.stop();
    // What comes while nobody reads is set right by what was known, and so is what comes then.
    let (way, zone) = INPUTS[0];
    real.write(way, zone, &try_root(20));
    real.write(way, zone, &try_root(20));
    let began = jiff::Timestamp::now().as_second();
    let daemon = home.start();
    let mut real = Real { entries: real.entries, ..Real::new(&home, udp, tcp) };
    real.attack(21);
    let status = home.ask(&["status"]).unwrap();
    for ((way, zone), skew) in INPUTS.iter().zip(skews(&status).expect("all are known")) {
        assert!((skew - *zone as f64).abs() < 3.0, "{way:?}: {skew} s for {zone}");
    }
    let row = kit::until("what came meanwhile is denied", || {
        home.history().into_iter().find(|row| row["prefix"] == address(20))
    });
    let until: jiff::Timestamp = kit::text(&row["until"]).parse().unwrap();
    assert!((began + HOUR - 3..=began + HOUR).contains(&until.as_second()), "{until}");
    assert_eq!(row["enforced"], true);
    names(8);
    daemon.stop();
}

/// What an outage kept back is as old as its stamps say, whether a daemon finds it in a file or a sender sends it at last.
#[test]
fn an_outage_that_was_real() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home = Home::new(&format!(
        "decide.deny_for = \"1h\"\n\
         [[input]]\nkind = \"file\"\npath = \"DIR/log\"\ntimezone = \"UTC\"\n\
         [[input]]\nkind = \"syslog\"\nlisten = \"tcp://127.0.0.1:{port}\"\ntimezone = \"UTC\"\n"
    ));
    fs::write(home.log(), "").unwrap();
    let now = jiff::Timestamp::now().as_second();
    // Two hours ago and ten minutes ago.
    let queue = |host: &str, attackers: [u8; 2]| -> String {
        let message = |n| match n {
            120 | 121 => try_root(attackers[0]),
            340 | 341 => try_root(attackers[1]),
            _ => nothing(),
        };
        let stamp = |n: i64| jiff::Timestamp::from_second(now - 3 * HOUR + n * 30).unwrap().strftime("%b %e %H:%M:%S");
        (0..360).map(|n| format!("{} {host} sshd[{}]: {}\n", stamp(n), n + 1, message(n))).collect()
    };
    let daemon = home.start();
    kit::until("it follows", || home.ask(&["status"])?["inputs"][0]["cursor"].is_object().then_some(()));
    daemon.stop();
    home.append(queue("web", [1, 2]).as_bytes());
    let daemon = home.start();
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.write_all(queue("mail", [3, 4]).as_bytes()).unwrap();
    kit::until("all is read", || {
        let status = home.ask(&["status"])?;
        (0..2).all(|n| status["inputs"][n]["records"] == 360).then_some(())
    });
    daemon.stop();
    let mut denied: Vec<_> = home.history().into_iter().filter(|row| row["decision"] == "denied").collect();
    denied.sort_by_key(|row| kit::text(&row["prefix"]));
    for (row, (attacker, n)) in denied.iter().zip([(1, 121), (2, 341), (3, 121), (4, 341)]) {
        let until = jiff::Timestamp::from_second(now - 3 * HOUR + n * 30 + HOUR).unwrap().to_string();
        let found = (&row["prefix"], &row["until"], &row["enforced"]);
        assert_eq!(found, (&address(attacker).into(), &until.into(), &(n > 200).into()));
    }
    assert_eq!(denied.len(), 4);
}
