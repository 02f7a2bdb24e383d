//! Tests that run once more in another place: alone in their process, or in a machine of their own.

use std::process::{Command, Stdio};

const INSIDE: &str = "DENYD_TEST_INSIDE";
/// The longest that a test in a box may take, in seconds.
const LONGEST_S: &str = "150";

/// Whether the test is alone in its process, whose memory it may measure; if not, runs it in one, and fails as it does.
pub fn alone(test: &str) -> bool {
    is_inside() || again(test, Command::new("env"))
}

/// Whether the test runs as root of a machine of its own (`box.sh`); if not, runs it in one, and fails as it does.
pub fn in_box(test: &str) -> bool {
    if is_inside() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        crate::skip(test, "only root can make namespaces");
        return false;
    }
    let mut command = Command::new("timeout");
    command.args(["-k", "5", LONGEST_S]).arg(crate::root().join("tests/kit/box.sh"));
    again(test, command)
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the test by this command; it is not here, then.
fn again(test: &str, mut command: Command) -> bool {
    let command =
        command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture", "--include-ignored"]);
    let output = command.env(INSIDE, "1").stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    let ran = text(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{test}, inside: {}\n{}", output.status, text(&output.stderr));
    false
}
