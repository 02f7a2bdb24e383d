//! `denyd doctor --bundle`: a file for a report of a fault, which names nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kit::Home;

#[test]
fn a_bundle_names_nobody_and_is_shown_before_it_is_written() {
    let home = Home::new(
        "[decide]\nrestricted_users = [\"zacharias\"]\nallow = [\"198.51.100.77\"]\n\
         [mail]\nto = [\"oncall@example.org\"]\nserver = \"mailhub:25\"\nusername = \"postie\"\ntls = \"starttls\"\n\
         password_file = \"DIR/secret\"\nfrom = \"denyd@example.net\"\n\
         [[input]]\nkind = \"file\"\nname = \"auth\"\npath = \"DIR/log\"\nhost = \"webserver7\"\nfirst_read = \"beginning\"\n",
    );
    fs::write(home.log(), "Nov 30 10:00:00 webserver7 sshd[7]: A strange message for quentin from 192.0.2.9\n")
        .unwrap();
    fs::write(home.path("secret"), "hunter2\n").unwrap();
    fs::set_permissions(home.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let log = home.path("denyd.log");
    let warnings = "2026-11-30T10:00:00Z  INFO denied prefix=203.0.113.5\n\
        2026-11-30T10:00:01Z  WARN spared: too many failures prefix=203.0.113.5 user=\"quentin\" host=db2.corp.example.com\n\
        2026-11-30T10:00:02Z ERROR bastion.example.org 203.0.113.5 and [2001:db8::77]:22\n";
    fs::write(&log, warnings).unwrap();
    let daemon = home.start();
    let file = home.path("report.txt");
    let bundle = || {
        let arguments = ["doctor", "--bundle", file.to_str().unwrap(), "--log", log.to_str().unwrap()];
        home.denyd(&arguments).output().unwrap()
    };
    let output = bundle();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(&file).unwrap(), shown);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let private = [
        "zacharias",
        "198.51.100.77",
        "bastion",
        "oncall",
        "example",
        "mailhub",
        "postie",
        "hunter2",
        "webserver7",
        "quentin",
        "192.0.2.9",
        "203.0.113.5",
        "db2",
        "2001:db8",
    ];
    for word in private {
        let line = shown.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "{word} in {shown}");
    }
    let head =
        ["== versions", "== configuration in effect", "== what denyd doctor says", "== status", "== the last warnings"];
    assert!(head.iter().all(|head| shown.contains(head)), "{shown}");
    // The same address has the same word in both lines; what is no warning is not there.
    let warned: Vec<&str> = shown.lines().filter(|line| line.starts_with("2026-11-30T10:00:0")).collect();
    let [first, second] = warned[..] else { panic!("{warned:?}") };
    let word = first.split("prefix=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(word.starts_with("ADDRESS-") && second.contains(&format!(" {word} and [ADDRESS-")), "{warned:?}");
    // It writes over nothing.
    let output = bundle();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("name a file that is not there"));
    drop(daemon);
}
