//! The syslog daemons of the field, each in the forms that it can be told to write: the same ten tries count ten in each
//! of its files, by `scan` and by a daemon that follows one of them.
//!
//! They are real but where a test says so: `tests/setup` unpacks them into `target/programs`, since none may be installed
//! beside rsyslogd.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kit::skip;
use kit::world::{JOURNALD, World};
use kit::{program, until, until_or};
use serde_json::Value;

/// Ten connections with one judged try each: from where, and what sshd writes of it to syslog.
const TRIES: [(&str, &[&str]); 10] = [
    (
        "198.51.100.1",
        &[
            "Invalid user admin from 198.51.100.1 port 40001",
            "Failed password for invalid user admin from 198.51.100.1 port 40001 ssh2",
            "Connection closed by invalid user admin 198.51.100.1 port 40001 [preauth]",
        ],
    ),
    ("198.51.100.2", &["Failed password for root from 198.51.100.2 port 40002 ssh2"]),
    (
        "198.51.100.3",
        &[
            "Invalid user  from 198.51.100.3 port 40003",
            "Failed password for invalid user  from 198.51.100.3 port 40003 ssh2",
        ],
    ),
    ("2001:db8::4", &["Failed password for root from 2001:db8::4 port 40004 ssh2"]),
    (
        "198.51.100.5",
        &[
            "Invalid user root from 192.0.2.66 port 22 ssh2 from 198.51.100.5 port 40005",
            "Failed password for invalid user root from 192.0.2.66 port 22 ssh2 from 198.51.100.5 port 40005 ssh2",
        ],
    ),
    (
        "198.51.100.6",
        &[
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.6  user=root",
            "Failed password for root from 198.51.100.6 port 40006 ssh2",
        ],
    ),
    ("198.51.100.7", &["Connection closed by authenticating user root 198.51.100.7 port 40007 [preauth]"]),
    (
        "198.51.100.8",
        &[
            "error: PAM: Authentication failure for illegal user guest from 198.51.100.8",
            "Failed keyboard-interactive/pam for invalid user guest from 198.51.100.8 port 40008 ssh2",
        ],
    ),
    (
        "198.51.100.9",
        &[
            "Invalid user Nov 29 05:31:49 web sshd[1]: x from 198.51.100.9 port 40009",
            "Failed password for invalid user Nov 29 05:31:49 web sshd[1]: x from 198.51.100.9 port 40009 ssh2",
        ],
    ),
    (
        "198.51.100.10",
        &[
            "Failed password for backup from 198.51.100.10 port 40010 ssh2",
            "Received disconnect from 198.51.100.10 port 40010:11: Bye Bye [preauth]",
            "Disconnected from authenticating user backup 198.51.100.10 port 40010 [preauth]",
        ],
    ),
];
/// The end of the last of them.
const LAST: &str = "198.51.100.10 port 40010 [preauth]";

/// A file that a daemon writes, of a name of its own among all tests, and what `scan` must be told of it.
type Written<'a> = (&'a str, &'a [&'a str]);

/// What all lines are of one program's own output.
const OUTPUT: &[&str] = &["--identifier", "sshd"];

struct Daemon<'a> {
    /// A program of it; it stands in `target/programs` or is installed.
    needs: &'a str,
    /// What makes its configuration and ends up as the daemon.
    start: &'a str,
    /// Where it listens; empty if it reads what sshd prints.
    socket: &'a str,
    files: &'a [Written<'a>],
    /// What kind of input a daemon of ours follows the first of them by meanwhile; empty if none does.
    follows: &'a str,
}

/// The environment in which a shell finds the unpacked programs; `None` if there is no such program.
fn environment(needs: &str) -> Option<String> {
    let root = kit::root().canonicalize().unwrap().join("target/programs");
    let paths = ["usr/sbin", "usr/bin", "sbin", "bin"].map(|path| root.join(path));
    if program(needs).is_none() && !paths.iter().any(|path| path.join(needs).exists()) {
        return None;
    }
    let list = |path: &str| std::fs::read_dir(root.join(path)).into_iter().flatten().map(|entry| entry.unwrap().path());
    let libraries = list("usr/lib").chain(list("lib")).filter(|path| path.is_dir());
    let join = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
    let modules = list("usr/lib/syslog-ng").find(|path| path.is_dir()).unwrap_or_default();
    Some(format!(
        "export PATH='{}':$PATH LD_LIBRARY_PATH='{}' MODULES='{}'\n",
        join(paths.to_vec()),
        join(libraries.collect()),
        modules.display()
    ))
}

fn check(test: &str, daemon: &Daemon<'_>) {
    let Some(environment) = environment(daemon.needs) else {
        return skip(test, &format!("no {}, which tests/setup unpacks", daemon.needs));
    };
    let Some(world) = World::new(test) else { return };
    // What ends in a pipe has what sshd prints at its beginning: all of it without syslog, and no line of PAM.
    let output = TRIES.iter().flat_map(|(_, lines)| *lines).filter(|line| !line.starts_with("pam_"));
    world.write("/run/output", &output.map(|line| format!("{line}\r\n")).collect::<String>());
    let path = daemon.files[0].0;
    let follows = !daemon.follows.is_empty();
    // 2001:db8::/64 is the machine's own, whose addresses would be counted one by one.
    let input = format!(
        "spare_machine = false\n[[input]]\nkind = \"{}\"\npath = \"{}\"\nfirst_read = \"beginning\"\n",
        daemon.follows,
        if daemon.follows == "multilog" { path.trim_end_matches("/current") } else { path }
    );
    let denyd = follows.then(|| world.start_denyd(Some(&input)));
    let running = world.spawn(&["sh", "-ec", &(environment + daemon.start)]);
    if !daemon.socket.is_empty() {
        until_or(daemon.socket, || running.said(), || world.path(daemon.socket).exists().then_some(()));
        send(&world, daemon.socket);
    }
    for (path, _) in daemon.files {
        let why = || format!("{}{}", running.said(), world.read(path));
        until_or(&format!("{path}: the last line"), why, || world.read(path).contains(LAST).then_some(()));
    }
    counted(&world, daemon.files);
    if follows {
        let rows = || world.denyd_json(&["list", "addresses", "--json"]);
        until_or("the tries in what is followed", || rows().to_string(), || (tallied(&rows()) == ten()).then_some(()));
    }
    drop((running, denyd));
}

/// Sends the ten tries to a socket, each by a process of its own, as sshd's connections have.
fn send(world: &World, socket: &str) {
    for (index, (_, lines)) in TRIES.iter().enumerate() {
        world.write(&format!("/run/tries/{index}"), &lines.join("\n"));
    }
    let each =
        "for try in 0 1 2 3 4 5 6 7 8 9; do logger -i -t sshd -p authpriv.info -u \"$1\" -f /run/tries/$try; done";
    world.run(&["sh", "-ec", each, "sh", socket]);
}

/// Each of the addresses once.
fn ten() -> BTreeMap<String, u64> {
    TRIES.iter().map(|(address, _)| (address.replace("::4", "::/64"), 1)).collect()
}

/// How many failures of each prefix a list of them has.
fn tallied(rows: &Value) -> BTreeMap<String, u64> {
    let count = |row: &Value| ["invalid", "root", "valid"].iter().map(|class| row[class].as_u64().unwrap()).sum();
    rows.as_array().unwrap().iter().map(|row| (kit::text(&row["prefix"]), count(row))).collect()
}

/// Ten in each of these files.
fn counted(world: &World, files: &[Written<'_>]) {
    let mut wrong = String::new();
    for (path, arguments) in files {
        let output = world.denyd(&[&["scan", "--json", "--all"], *arguments, &[path]].concat());
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let is_right = found["attempts"] == 10 && found["addresses"] == 10 && tallied(&found["tallies"]) == ten();
        if !is_right {
            let error = String::from_utf8_lossy(&output.stderr);
            let head: String = world.read(path).lines().take(2).map(|line| format!("    {line}\n")).collect();
            wrong += &format!("{path} {arguments:?}: {} attempts, {error}\n{head}", found["attempts"]);
        }
    }
    assert!(wrong.is_empty(), "not ten:\n{wrong}");
}

#[test]
fn busybox() {
    for options in ["", "-S", "-t"] {
        let path = format!("/run/busybox{options}");
        let daemon = Daemon {
            needs: "busybox",
            start: &format!("exec busybox syslogd -n -O {path} {options}"),
            socket: "/dev/log",
            files: &[(&path, &[])],
            follows: "file",
        };
        check("field::busybox", &daemon);
    }
}

#[test]
fn inetutils() {
    let start = "echo '*.* /run/inetutils' >/run/config\n\
                 exec syslogd --no-detach -f /run/config --no-klog -p /dev/log --pidfile=/run/inetutils.pid";
    let files = [("/run/inetutils", [].as_slice())];
    check("field::inetutils", &Daemon { needs: "syslogd", start, socket: "/dev/log", files: &files, follows: "file" });
}

#[test]
fn syslog_ng() {
    // A destination a form; the first is followed.
    let forms = [
        ("iso", "ts-format(iso)"),
        ("default", ""),
        ("rfc3164", "ts-format(rfc3164)"),
        ("rfc3164-fraction", "ts-format(rfc3164) frac-digits(3)"),
        ("iso-fraction", "ts-format(iso) frac-digits(6)"),
        ("iso-zone", "ts-format(iso) time-zone(\"Asia/Kolkata\")"),
        ("full", "ts-format(full)"),
        ("full-fraction", "ts-format(full) frac-digits(3)"),
        ("unix", "ts-format(unix)"),
        ("unix-fraction", "ts-format(unix) frac-digits(3)"),
        ("protocol", "flags(syslog-protocol)"),
        ("facility", "template(\"${ISODATE} ${HOST} ${FACILITY}.${LEVEL} ${MSGHDR}${MSG}\\n\")"),
        ("priority", "template(\"<${PRI}>${DATE} ${HOST} ${MSGHDR}${MSG}\\n\")"),
    ];
    let destinations: String = forms
        .iter()
        .map(|(name, how)| format!("destination {{ file(\"/run/syslog-ng-{name}\" {how}); }};\n"))
        .collect();
    let paths = forms.map(|(name, _)| format!("/run/syslog-ng-{name}"));
    let files = paths.each_ref().map(|path| (path.as_str(), [].as_slice()));
    let start = format!(
        "mkdir -p /var/lib/syslog-ng\ncat >/run/config <<'END'\n@version: 3.38\noptions {{ keep-hostname(yes); use-dns(no); }};\n\
         log {{ source {{ unix-dgram(\"/run/socket\"); }};\n{destinations}}};\nEND\n\
         exec syslog-ng -F --no-caps -f /run/config -R /run/persist -c /run/control -p /run/pid --module-path=\"$MODULES\""
    );
    check(
        "field::syslog_ng",
        &Daemon { needs: "syslog-ng", start: &start, socket: "/run/socket", files: &files, follows: "file" },
    );
}

#[test]
fn rsyslog() {
    let forms = [
        ("traditional", "template=\"RSYSLOG_TraditionalFileFormat\""),
        ("file", "template=\"RSYSLOG_FileFormat\""),
        ("protocol", "template=\"RSYSLOG_SyslogProtocol23Format\""),
        ("sysklogd", "template=\"RSYSLOG_SysklogdFileFormat\""),
        ("unix", "template=\"unix\""),
        ("facility", "template=\"facility\""),
    ];
    let actions: String = forms
        .iter()
        .map(|(name, how)| format!("action(type=\"omfile\" file=\"/run/rsyslog-{name}\" {how})\n"))
        .collect();
    let paths = forms.map(|(name, _)| format!("/run/rsyslog-{name}"));
    let files = paths.each_ref().map(|path| (path.as_str(), [].as_slice()));
    let start = format!(
        "cat >/run/config <<'END'\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"/run/socket\")\n\
         template(name=\"unix\" type=\"string\" string=\"%timegenerated:::date-unixtimestamp% %hostname% %syslogtag%%msg%\\n\")\n\
         template(name=\"facility\" type=\"string\" string=\"%timestamp% %hostname% %pri-text% %syslogtag%%msg%\\n\")\n\
         {actions}END\nexec rsyslogd -n -f /run/config -i /run/pid"
    );
    check(
        "field::rsyslog",
        &Daemon { needs: "rsyslogd", start: &start, socket: "/run/socket", files: &files, follows: "file" },
    );
}

#[test]
fn socklog_and_svlogd() {
    for stamps in ["", "-t", "-tt", "-ttt"] {
        let path = format!("/run/socklog{stamps}/current");
        let start = format!(
            "mkdir /run/socklog{stamps}\nsocklog unix /dev/log 2>/dev/null | svlogd {stamps} /run/socklog{stamps}"
        );
        // A log that multilog could have written.
        let follows = if stamps == "-t" { "multilog" } else { "file" };
        let files = [(&*path, [].as_slice())];
        check(
            "field::socklog_and_svlogd",
            &Daemon { needs: "socklog", start: &start, socket: "/dev/log", files: &files, follows },
        );
    }
}

#[test]
fn what_sshd_prints() {
    let start = "mkdir /run/sv /run/sv-t /run/sv-tt /run/sv-ttt\nfor t in '' -t -tt -ttt; do svlogd $t /run/sv$t </run/output; done\n\
                 s6-log t /run/s6-t </run/output\ns6-log T /run/s6-T </run/output\ns6-log t T /run/s6-tT </run/output\nsleep 60";
    let files = ["sv", "sv-t", "sv-tt", "sv-ttt", "s6-t", "s6-T", "s6-tT"].map(|name| format!("/run/{name}/current"));
    let files: Vec<_> = files.iter().map(|path| (path.as_str(), OUTPUT)).collect();
    check("field::what_sshd_prints", &Daemon { needs: "s6-log", start, socket: "", files: &files, follows: "" });
}

#[test]
fn s6_socklog() {
    let start = "s6-socklog -d3 -x /dev/log 3>/dev/null | s6-log T /run/s6-socklog";
    let files = [("/run/s6-socklog/current", [].as_slice())];
    check("field::s6_socklog", &Daemon { needs: "s6-socklog", start, socket: "/dev/log", files: &files, follows: "" });
}

#[test]
fn journalctl() {
    let Some(mut world) = World::new("field::journalctl") else { return };
    let journald = world.spawn(&["bash", "-c", JOURNALD]);
    world.keep(journald);
    until("journald", || world.path("/run/journald.ready").exists().then_some(()));
    send(&world, "/run/systemd/journal/dev-log");
    world.run(&["journalctl", "--sync"]);
    let forms = [
        "short",
        "short-full",
        "short-iso",
        "short-iso-precise",
        "short-precise",
        "short-unix",
        "short-monotonic",
        "short-delta",
        "with-unit",
        "export",
        "json",
        "json-sse",
        "json-seq",
    ];
    for form in forms {
        world.run(&["sh", "-ec", "journalctl -q -o \"$1\" >\"/run/journalctl-$1\"", "sh", form]);
    }
    world.run(&["sh", "-ec", "journalctl -q --no-hostname >/run/journalctl-no-host"]);
    let paths = forms.iter().chain(&["no-host"]).map(|form| format!("/run/journalctl-{form}")).collect::<Vec<_>>();
    counted(&world, &paths.iter().map(|path| (path.as_str(), [].as_slice())).collect::<Vec<_>>());
}

/// What a line looks like: of the connection of that number, the line.
type Form = fn(usize, &str) -> String;

/// Debian 12 has no sysklogd and no metalog, and there is no Docker here: these are their documented forms.
#[test]
fn written_by_hand() {
    let Some(world) = World::new("field::written_by_hand") else { return };
    let syslog: &[(&str, Form)] = &[
        ("sysklogd", |pid, line| format!("Nov 28 05:31:49 web sshd[{pid}]: {line}\n")),
        ("sysklogd-rfc5424", |pid, line| format!("2026-11-28T05:31:49.123456+01:00 web sshd {pid} - - {line}\n")),
        ("docker-syslogd", |pid, line| docker(&format!("Nov 28 05:31:49 web authpriv.info sshd[{pid}]: {line}"))),
        ("docker-syslog", |_, line| format!("Nov 28 05:31:49 web 4f1c0a2b3c4d[812]: {line}\n")),
        ("cri-syslogd", |pid, line| format!("{CRI} stdout F Nov 28 05:31:49 web authpriv.info sshd[{pid}]: {line}\n")),
    ];
    let output: &[(&str, Form)] =
        &[("docker", |_, line| docker(&format!("{line}\r"))), ("cri", |_, line| format!("{CRI} stderr F {line}\r\n"))];
    let metalog: &[(&str, Form)] = &[("metalog", |_, line| format!("Nov 28 05:31:49 [sshd] {line}\n"))];
    let mut files = Vec::new();
    for (forms, arguments) in [(syslog, [].as_slice()), (output, OUTPUT), (metalog, &[])] {
        for (name, form) in forms {
            let tries = TRIES.iter().enumerate();
            let text = tries.flat_map(|(index, (_, lines))| lines.iter().map(move |line| form(4000 + index, line)));
            let path = format!("/run/{name}");
            world.write(&path, &text.collect::<String>());
            files.push((path, arguments));
        }
    }
    counted(&world, &files.iter().map(|(path, arguments)| (path.as_str(), *arguments)).collect::<Vec<_>>());
}

const CRI: &str = "2026-11-28T05:31:49.622327647Z";

/// A line of docker's json-file.
fn docker(line: &str) -> String {
    let log = Value::from(format!("{line}\n"));
    format!("{{\"log\":{log},\"stream\":\"stderr\",\"time\":\"{CRI}\"}}\n")
}
