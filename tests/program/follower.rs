//! An output that follows the history tells each decision once, though the program is killed between its reading and its
//! acknowledging: decisions that are not acknowledged come again, and by its number it knows one that it has told.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use denyd::decide::claim::{Claim, Claimant, Reason};
use denyd::decide::state::{Change, State};
use denyd::store::{Commit, Store};
use inputs::record::Timestamp;

/// A follower: a line of a file for each decision, with its number.
struct Outbox(PathBuf);

impl Outbox {
    const NAME: &str = "outbox";

    fn told(&self) -> Vec<i64> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Tells some of what was decided. `dies` stands for a power cut before it can acknowledge.
    fn tell(&self, store: &mut Store, dies: bool) {
        let seen = store.followers().unwrap()[0].seen;
        let decided = store.history_after(seen, 3).unwrap();
        let told = self.told().last().copied().unwrap_or(0);
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&self.0).unwrap();
        for one in decided.iter().filter(|one| one.id > told) {
            writeln!(file, "{}", one.id).unwrap();
        }
        if dies {
            std::process::abort();
        }
        let acknowledged = decided.last().map(|one| (Outbox::NAME.to_owned(), one.id)).into_iter().collect();
        store.commit(&Commit { acknowledged, ..Commit::default() }, &State::default()).unwrap();
    }
}

fn open(dir: &Path) -> (Store, Outbox) {
    let mut store = Store::open(dir).unwrap();
    store.follow(&[Outbox::NAME]).unwrap();
    (store, Outbox(dir.join("told")))
}

/// One life of the program: it decides twice and tells.
#[test]
#[ignore = "the test below runs it in a process of its own"]
fn one_life() {
    let dir = PathBuf::from(std::env::var("DENYD_FOLLOWER_DIR").unwrap());
    let dies = std::env::var_os("DENYD_FOLLOWER_DIES").is_some();
    let (mut store, outbox) = open(&dir);
    let claim = Claim { since: Timestamp(1), until: None, reason: Reason::Adopted, enforceable: true };
    let denied = Change::Denied { prefix: "192.0.2.7".parse().unwrap(), by: Claimant::Policy, claim };
    let commit = Commit { changes: vec![denied.clone(), denied], ..Commit::default() };
    store.commit(&commit, &State::default()).unwrap();
    outbox.tell(&mut store, dies);
}

#[test]
fn each_decision_is_told_once_over_crashes() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..12 {
        let dies = life % 3 != 2;
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "follower::one_life", "--ignored"]).env("DENYD_FOLLOWER_DIR", dir.path());
        let child = if dies { child.env("DENYD_FOLLOWER_DIES", "1") } else { &mut child };
        assert_eq!(child.output().unwrap().status.success(), !dies, "life {life}");
    }
    let (mut store, outbox) = open(dir.path());
    assert!(store.followers().unwrap()[0].behind >= 12, "it was killed before it could acknowledge");
    while store.followers().unwrap()[0].behind > 0 {
        outbox.tell(&mut store, false);
    }
    assert_eq!(outbox.told(), (1..=24).collect::<Vec<_>>());
    assert_eq!(store.followers().unwrap()[0].missed, 0);
}
