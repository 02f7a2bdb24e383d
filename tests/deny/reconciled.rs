//! A reconciler's thread with a real back end, and with one of one's own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use denyd::decide::prefix::Prefix;
use denyd::deny::choose::{self, Backends, Kind, Means, Settings};
use denyd::deny::nft::Lengths;
use denyd::deny::reconciler::{Pace, Reconcilers, Status};
use denyd::deny::{DenyBackend, DenyError, DenySet, Diff};
use inputs::record::Timestamp;
use tokio::time::Instant;

use crate::world::in_namespace;
use crate::{Memory, NOW, diff, set};

#[test]
fn the_reconciler_mends_the_kernel() {
    in_namespace("reconciled::the_reconciler_mends_the_kernel", async |world| {
        let pace = Pace::default();
        let clock = || (NOW, std::time::Instant::now());
        let reconcilers = Reconcilers::start(vec![Box::new(world.nft())], set("192.0.2.10", ""), clock, pace).unwrap();
        let until = async |what: &str, met: fn(&Status) -> bool| {
            let end = Instant::now() + Duration::from_secs(10);
            while !met(&reconcilers.statuses()[0]) {
                assert!(Instant::now() < end, "{what}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        until("one", |status| status.enforced == 1).await;
        world.is("192.0.2.10 silent, 192.0.2.11 open").await;
        let whole = || panic!("two changes are not too many");
        reconcilers.send(&diff(&set("192.0.2.11", ""), "192.0.2.11", "192.0.2.10"), whole);
        reconcilers.send(&diff(&set("192.0.2.12", ""), "192.0.2.12", ""), whole);
        until("two", |status| status.enforced == 2).await;
        world.is("192.0.2.10 open, 192.0.2.11 silent, 192.0.2.12 silent").await;
        // each is healed at once, and counted
        let harm = [
            "flush ruleset",
            "delete table inet denyd_t",
            "delete element inet denyd_t deny4 { 192.0.2.11 }",
            "flush set inet denyd_t deny4",
            "insert rule inet denyd_t prerouting accept",
        ];
        for (before, command) in harm.into_iter().enumerate() {
            let done = Instant::now();
            world.run("nft", &[command]);
            let end = done + Duration::from_secs(10);
            let healed =
                |status: &Status| status.healed > before as u64 && status.error.is_none() && status.enforced == 2;
            while !healed(&reconcilers.statuses()[0]) {
                assert!(Instant::now() < end, "{command}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            println!("{command}: healed {} ms after nft was started", done.elapsed().as_millis());
            assert_eq!(world.elements("denyd_t", "deny4"), ["192.0.2.11".to_owned(), "192.0.2.12".to_owned()].into());
        }
        assert_eq!(reconcilers.statuses()[0].healed, harm.len() as u64);
        world.is("192.0.2.11 silent, 192.0.2.12 silent").await;
        assert!(reconcilers.stop(Duration::from_secs(10)));
        world.is("192.0.2.11 silent").await; // denies outlive us
    });
}

/// All that a back end needs: it is plugged in by one line.
struct Marks(Arc<Mutex<BTreeSet<String>>>);

impl DenyBackend for Marks {
    fn name(&self) -> &'static str {
        "marks"
    }

    fn replace(&mut self, want: &DenySet, _now: Timestamp) -> Result<(), DenyError> {
        *self.0.lock().unwrap() = want.denied.keys().map(Prefix::to_string).collect();
        Ok(())
    }
}

static MARKED: std::sync::LazyLock<Arc<Mutex<BTreeSet<String>>>> = std::sync::LazyLock::new(Arc::default);

static MARKS: Kind = Kind::plain("marks", |_| Ok(Box::new(Marks(Arc::clone(&MARKED)))));

#[test]
fn a_back_end_is_a_file_and_a_line() {
    let settings = Settings { backends: Backends::These(vec![&MARKS]), ..Settings::default() };
    let notes = || Ok(Memory::default().notes());
    let means = Means { settings: &settings, lengths: Lengths::default(), notes: &notes, lost: false };
    let back_ends = choose::make(&means).unwrap();
    let clock = || (NOW, std::time::Instant::now());
    let reconcilers = Reconcilers::start(back_ends, set("192.0.2.1 192.0.2.2", ""), clock, Pace::default()).unwrap();
    let diff = Diff { denies: [("192.0.2.1".parse().unwrap(), None)].into(), ..Diff::default() };
    reconcilers.send(&diff, DenySet::default);
    assert!(reconcilers.stop(Duration::from_secs(10)));
    assert_eq!(*MARKED.lock().unwrap(), ["192.0.2.2".to_owned()].into());
}
