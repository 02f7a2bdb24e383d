//! The unit of the package on a machine that systemd boots, with its journald and sshd.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use kit::skip;

/// The longest that a script may take, in seconds.
const LONGEST_S: &str = "900";

/// Runs a script of `tests/e2e/booted` in such a machine; `outside` watches from the other one. `prepare` may put more into
/// /scratch before.
fn booted(test: &str, script: &str, outside: bool, prepare: impl Fn(&Path)) {
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "only root can make namespaces");
    }
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| scratch.path().join(name);
    let root = kit::root();
    fs::copy(kit::program_under_test(), place("denyd")).unwrap();
    for (from, name) in [("tests/e2e/booted", "booted"), ("packaging/systemd", "systemd")] {
        fs::create_dir(place(name)).unwrap();
        for file in fs::read_dir(root.join(from)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), place(name).join(file.file_name())).unwrap();
        }
    }
    fs::copy(root.join("tests/kit/smtp_sink.py"), place("smtp_sink.py")).unwrap();
    if outside {
        symlink("booted/scanner", place("outside")).unwrap();
    }
    prepare(scratch.path());
    let mut command = Command::new("timeout");
    command.args(["-k", "10", LONGEST_S]).arg(root.join("tests/kit/booted.sh")).arg(scratch.path());
    let output = command.args(["bash", &format!("/scratch/booted/{script}")]).output().unwrap();
    let told = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat();
    println!("{told}");
    assert!(output.status.success() && told.contains("ok   "), "{test}: {}\n{told}", output.status);
}

#[test]
fn the_unit_of_the_package() {
    booted("the_unit_of_the_package", "unit.sh", false, |_| ());
}

#[test]
fn who_is_denied_stays_out_through_everything() {
    booted("who_is_denied_stays_out_through_everything", "reboot.sh", true, |_| ());
}

#[test]
fn sshd_starts_whatever_becomes_of_denyd() {
    booted("sshd_starts_whatever_becomes_of_denyd", "hangs.sh", false, |_| ());
}

/// `DENYD_BEFORE` may name a package of an older denyd, of revision 1, from which and back to which it goes.
#[test]
fn the_package_keeps_denies_until_it_is_purged() {
    let build = |scratch: &Path| {
        let before = std::env::var_os("DENYD_BEFORE");
        if let Some(package) = &before {
            fs::copy(package, scratch.join("denyd_before-1_.deb")).unwrap();
        }
        for revision in ["1", "2"].into_iter().skip(before.iter().count()) {
            let mut command = Command::new(kit::root().join("packaging/deb/build"));
            command.env("DPKG_DEB_COMPRESSOR_TYPE", "none");
            let output = command.args([&scratch.join("denyd"), scratch]).arg(revision).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    };
    booted("the_package_keeps_denies_until_it_is_purged", "package.sh", true, build);
}

/// `DENYD_RPM` names the directory that `tests/packages` filled.
#[test]
#[ignore = "needs cargo-generate-rpm; tests/run --long does it"]
fn the_rpm_keeps_denies() {
    let place = std::path::PathBuf::from(std::env::var_os("DENYD_RPM").expect("DENYD_RPM"));
    booted("the_rpm_keeps_denies", "rpm.sh", false, |scratch| {
        for file in fs::read_dir(&place).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|kind| kind == "rpm") {
                fs::copy(&file, scratch.join(file.file_name().unwrap())).unwrap();
            }
        }
    });
}
