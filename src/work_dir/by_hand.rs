//! What a person deleted while the daemon was stopped is forgiven, as DenyHosts' users know it: stop, delete every line of an
//! address from the files of the work directory and from hosts.deny, start.
//!
//! A deleted line looks like one that was never written, or was lost. So only a clean stop counts: it writes the files, reads
//! them and hosts.deny back, and notes in the database who stood there. The next start compares, and takes the note away in the
//! commit that forgives. Where too many are gone nobody is forgiven, and the lines are put back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use inputs::record::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::files;
use crate::config::Compat;
use crate::decide::prefix::Prefix;
use crate::deny::hosts_deny::Standing;
use crate::desk::Desk;

/// So many may be forgiven so at once, or [`SHARE`] of all that are listed, if that is more.
pub const FORGIVEN_MAX: usize = 20;
/// One in so many.
pub const SHARE: usize = 10;
/// How long a start waits for the files.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Prefixes that a message names.
const NAMED: usize = 5;

/// What was read back at a clean stop.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stopped {
    /// The work directory.
    dir: Option<PathBuf>,
    /// The file of the back end hosts.deny.
    hosts_deny: Option<PathBuf>,
    /// Who stood in the files that say who failed.
    files: BTreeSet<Prefix>,
    /// Who stood in hosts.deny by a line of ours.
    lines: BTreeSet<Prefix>,
}

/// What a start is to do.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// What the configuration says.
    pub compat: &'a Compat,
    /// The file of the back end hosts.deny, if it is in use.
    pub hosts_deny: Option<&'a Path>,
    /// However many are gone, a person deleted them.
    pub all: bool,
}

/// Writes the files for the last time, and notes who stands in them and in hosts.deny; an error says why nothing was noted, so
/// that nobody will be forgiven. Nothing must be written after it.
pub fn stop(desk: &Desk, compat: &Compat, hosts_deny: Option<&Path>, now: Timestamp) -> Result<(), String> {
    if !compat.forgives() {
        return Ok(());
    }
    let mut stopped = Stopped { hosts_deny: hosts_deny.map(Path::to_owned), ..Stopped::default() };
    if let Some(dir) = &compat.work_dir {
        let real = files::own(dir)?;
        files::take(&real)?;
        let all = files::render(&desk.kept(now)?, now, &TimeZone::system());
        for (name, bytes) in &all {
            if !files::read(&real, name).is_ok_and(|there| there.as_ref() == Some(bytes)) {
                files::write(&real, name, bytes, &mut |_| Ok(()))?;
            }
        }
        files::sync(&real)?;
        for (name, bytes) in &all {
            if files::read(&real, name)?.as_ref() != Some(bytes) {
                return Err(format!("{} is not what was written", real.join(name).display()));
            }
        }
        stopped.files = counted_by(desk, files::listed(&real, false)?);
        stopped.dir = Some(dir.clone());
    }
    if let Some(file) = hosts_deny {
        stopped.lines = desk.standing(file)?.ours;
    }
    let note = serde_json::to_string(&stopped).map_err(|error| error.to_string())?;
    desk.note_stopped(&note).map_err(|error| error.to_string())
}

/// Forgives who was deleted since the clean stop. Returns what a person should know: who was deleted and is not forgiven, and
/// why.
pub fn start(desk: &mut Desk, order: Start<'_>, now: Timestamp) -> Option<String> {
    let stopped = match desk.stopped() {
        Ok(stopped) => stopped?,
        Err(error) => return Some(format!("nobody is forgiven by hand: {error}")),
    };
    let looked = if order.compat.forgives() { look(desk, order, &stopped) } else { Ok((BTreeSet::new(), None)) };
    let (gone, told) = match looked {
        Ok((gone, partly)) => (gone.into_iter().collect(), partly),
        Err(why) => (Vec::new(), Some(format!("nobody is forgiven by hand: {why}"))),
    };
    if !gone.is_empty() {
        let addresses = named(&gone);
        tracing::info!(addresses, "forgiven by hand: a person deleted the lines while denyd was stopped");
    }
    // What it publishes is in the whole that is published at a start.
    if let Err(error) = desk.forgive_by_hand(gone, now).written {
        tracing::error!(%error, "what was forgiven by hand is not written yet");
    }
    if let Some(told) = &told {
        tracing::warn!("{told}");
    }
    told
}

/// Whom to forgive, and what to tell of those whose lines are gone from one place only.
fn look(desk: &Desk, order: Start<'_>, note: &str) -> Result<(BTreeSet<Prefix>, Option<String>), String> {
    let mut stopped: Stopped = serde_json::from_str(note).map_err(|error| error.to_string())?;
    // Who is denied and counted no longer, by a verb meanwhile, is no matter of lines.
    for all in [&mut stopped.files, &mut stopped.lines] {
        *all = desk.known(std::mem::take(all)).into_iter().collect();
    }
    if (stopped.dir.as_deref(), stopped.hosts_deny.as_deref()) != (order.compat.work_dir.as_deref(), order.hosts_deny) {
        return Err("the work directory, or hosts.deny, is another one than at the last stop".to_owned());
    }
    let files = match &stopped.dir {
        Some(dir) => counted_by(desk, listed_within(READ_WITHIN, dir.clone(), order.all)?),
        None => BTreeSet::new(),
    };
    let standing = stopped.hosts_deny.as_deref().map(|file| desk.standing(file)).transpose()?.unwrap_or_default();
    let is_held = |prefix: &Prefix| desk.is_denied_wider(prefix);
    gone(&stopped, &files, &standing, &is_held, order.all)
}

/// By which prefixes addresses are counted.
fn counted_by(desk: &Desk, all: BTreeSet<IpAddr>) -> BTreeSet<Prefix> {
    all.into_iter().map(|address| desk.counted_by(address)).collect()
}

/// Who is listed, read by a thread of its own: a server of files that does not answer holds up no start.
fn listed_within(most: Duration, dir: PathBuf, may_miss: bool) -> Result<BTreeSet<IpAddr>, String> {
    let place = dir.display().to_string();
    let (read, told) = mpsc::channel();
    let look = move || drop(read.send(files::own(&dir).and_then(|dir| files::listed(&dir, may_miss))));
    std::thread::Builder::new().name("listed".to_owned()).spawn(look).map_err(|error| error.to_string())?;
    told.recv_timeout(most).unwrap_or_else(|_| Err(format!("{place} is not read within {} s", most.as_secs())))
}

fn gone(
    stopped: &Stopped,
    files: &BTreeSet<Prefix>,
    standing: &Standing,
    is_held: &dyn Fn(&Prefix) -> bool,
    all: bool,
) -> Result<(BTreeSet<Prefix>, Option<String>), String> {
    let known: BTreeSet<Prefix> = stopped.files.union(&stopped.lines).copied().collect();
    let mut left: BTreeSet<Prefix> = files.union(&standing.all).copied().collect();
    if !all && !known.is_empty() && known.is_disjoint(&left) {
        return Err("every line of ours is gone, so the files may have been lost; they are put back. If a person deleted them: \
                    denyd run --forgive-deleted, once, or denyd forgive --all"
            .to_owned());
    }
    // A place of which every line is gone was lost, or written anew by a program: it tells nothing of a single one.
    let is_lost = |then: &BTreeSet<Prefix>, now: &BTreeSet<Prefix>| !all && !then.is_empty() && then.is_disjoint(now);
    let (files_lost, lines_lost) = (is_lost(&stopped.files, files), is_lost(&stopped.lines, &standing.ours));
    let mut deleted = BTreeSet::new();
    let (mut lost, mut single) = (Vec::new(), Vec::new());
    for (place, then, now, is_lost) in [
        ("the work directory", &stopped.files, files, files_lost),
        ("hosts.deny", &stopped.lines, &standing.ours, lines_lost),
    ] {
        match is_lost {
            false => deleted.extend(then.difference(now).copied()),
            // The only line of a place may be deleted, where another place says so, too.
            true if then.len() == 1 => single.push((place, then)),
            true => {
                left.extend(then);
                lost.push(place);
            }
        }
    }
    let stays = |prefix: &&Prefix| meets(&left, prefix) || standing.speaks_of(prefix) || is_held(prefix);
    let (partly, gone): (BTreeSet<_>, BTreeSet<_>) = deleted.iter().partition(stays);
    let most = FORGIVEN_MAX.max(known.len() / SHARE);
    if !all && gone.len() > most {
        return Err(format!(
            "the lines of {} addresses are gone, and at most {most} are forgiven at once, as a file may have been lost; they are \
             put back. If a person deleted them: denyd run --forgive-deleted, once, or denyd forgive ADDRESS",
            gone.len()
        ));
    }
    lost.extend(single.iter().filter(|(_, then)| then.is_disjoint(&gone)).map(|(place, _)| *place));
    let partly: Vec<Prefix> = partly.into_iter().collect();
    let partly = (!partly.is_empty()).then(|| {
        format!(
            "lines were deleted of addresses that still stand elsewhere in the work directory or in hosts.deny, or that are denied \
             with a wider network; they are not forgiven, and put back: {}; see denyd forgive ADDRESS",
            named(&partly)
        )
    });
    let lost = (!lost.is_empty()).then(|| {
        format!(
            "every line of ours is gone from {}, which may have been lost or written anew, so nobody is forgiven by that; they are \
             put back. If a person deleted them: denyd run --forgive-deleted, once, or denyd forgive ADDRESS",
            lost.join(" and ")
        )
    });
    let told: Vec<String> = lost.into_iter().chain(partly).collect();
    Ok((gone, (!told.is_empty()).then(|| told.join(". "))))
}

/// Whether one of them holds a prefix or lies in it.
fn meets(all: &BTreeSet<Prefix>, prefix: &Prefix) -> bool {
    let wider = (0..=prefix.bits()).map(|bits| Prefix::of(prefix.address(), bits));
    let mut within = all.range(*prefix..=Prefix::host(prefix.last()));
    wider.into_iter().any(|wider| all.contains(&wider)) || within.any(|other| prefix.contains(other))
}

/// The first of some prefixes, and how many more there are.
fn named(all: &[Prefix]) -> String {
    let first = all.iter().take(NAMED).map(Prefix::to_string).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::{Step, write};
    use super::*;

    fn set(text: &str) -> BTreeSet<Prefix> {
        text.split_whitespace().map(|one| one.parse().unwrap()).collect()
    }

    /// Who is gone, where `files` and `lines` stood at the stop, and `now_files` and `now_lines` stand now.
    #[track_caller]
    fn check([files, lines, now_files, now_lines]: [&str; 4], all: bool, want: Result<&str, &str>) {
        let stopped = Stopped { files: set(files), lines: set(lines), ..Stopped::default() };
        let standing = Standing { ours: set(now_lines), all: set(now_lines), ..Standing::default() };
        match (gone(&stopped, &set(now_files), &standing, &|_| false, all), want) {
            (Ok((gone, _)), Ok(want)) => assert_eq!(gone, set(want)),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{got:?} is not {want:?}"),
        }
    }

    #[test]
    fn who_is_deleted_everywhere_is_forgiven() {
        let (three, two) = ("192.0.2.1 192.0.2.2 192.0.2.3", "192.0.2.2 192.0.2.3");
        check([three, three, two, two], false, Ok("192.0.2.1"));
        check([three, three, two, three], false, Ok(""));
        check([three, three, three, two], false, Ok(""));
        // Counted and not denied, or denied by a person and not counted.
        check([three, "", two, ""], false, Ok("192.0.2.1"));
        check(["", three, "", two], false, Ok("192.0.2.1"));
        // It was the only one that was denied.
        check([three, "192.0.2.1", two, ""], false, Ok("192.0.2.1"));
        check([three, three, "", ""], false, Err("every line of ours is gone"));
        check([three, three, "", ""], true, Ok(three));
        check(["", "192.0.2.1", "", ""], false, Err("every line of ours is gone"));
        // A wider deny still holds it, and a foreign line denies it.
        check([three, "192.0.2.0/24", two, "192.0.2.0/24"], false, Ok(""));
        check(["2001:db8::/64", "2001:db8::/64 192.0.2.1", "", "192.0.2.1"], false, Ok("2001:db8::/64"));
        let foreign = Standing { ours: set(two), all: set(three), ..Standing::default() };
        let stopped = Stopped { lines: set(three), ..Stopped::default() };
        let (nobody, told) = gone(&stopped, &set(""), &foreign, &|_| false, false).unwrap();
        assert!(nobody.is_empty() && told.unwrap().contains("192.0.2.1; see denyd forgive"));
        // An operator denied a network that holds it.
        let ours = Standing { ours: set(two), all: set(two), ..Standing::default() };
        let (nobody, told) = gone(&stopped, &set(""), &ours, &|_| true, false).unwrap();
        assert!(nobody.is_empty() && told.unwrap().contains("denied with a wider network"));
    }

    /// Who stands in one place alone, and that place is lost or written anew, was deleted by nobody.
    #[test]
    fn a_place_that_is_lost_forgives_nobody() {
        let (three, denied) = ("192.0.2.1 192.0.2.2 192.0.2.3", "198.51.100.1 198.51.100.2 198.51.100.3");
        check([three, denied, three, ""], false, Ok(""));
        check([three, denied, three, "203.0.113.9"], false, Ok(""));
        check([three, denied, three, ""], true, Ok(denied));
        check([three, denied, "192.0.2.2 192.0.2.3", ""], false, Ok("192.0.2.1"));
        check([three, "198.51.100.1", three, ""], false, Ok(""));
        check([three, denied, "", denied], false, Ok(""));
        check([three, denied, "", "198.51.100.2 198.51.100.3"], false, Ok("198.51.100.1"));
    }

    #[test]
    fn who_stands_in_a_wider_line_is_deleted_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hosts.deny");
        let text = "sshd: 203.0.113.\nALL: 198.51.100.1, 198.51.100.2\nALL: PARANOID\nsshd: 192.0.2.9\n";
        std::fs::write(&file, text).unwrap();
        let ledger = r#"{"sshd: 192.0.2.9":"192.0.2.9","PasswordAuthentication no":"192.0.2.9"}"#;
        let standing = crate::deny::hosts_deny::standing(&file, Some(ledger)).unwrap();
        let lines = set("203.0.113.7 203.0.113.8 198.51.100.1 192.0.2.9 192.0.2.77");
        let stopped = Stopped { lines, ..Stopped::default() };
        let (gone, told) = gone(&stopped, &set(""), &standing, &|_| false, false).unwrap();
        assert_eq!(gone, set("192.0.2.77"));
        assert!(told.unwrap().contains("198.51.100.1, 203.0.113.7, 203.0.113.8"));
    }

    #[test]
    fn too_many_are_no_person() {
        let some = |range: std::ops::Range<u32>| {
            let all = range.map(|number| std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).to_string());
            all.collect::<Vec<_>>().join(" ")
        };
        check([&some(0..50), "", &some(20..50), ""], false, Ok(&some(0..20)));
        check([&some(0..50), "", &some(21..50), ""], false, Err("the lines of 21 addresses are gone, and at most 20"));
        check([&some(0..50), "", &some(21..50), ""], true, Ok(&some(0..21)));
        check([&some(0..500), "", &some(50..500), ""], false, Ok(&some(0..50)));
        check([&some(0..500), "", &some(51..500), ""], false, Err("at most 50"));
    }

    /// However far a write came, the file lists all that it listed before or all that it is to list.
    #[test]
    fn a_write_that_ends_anywhere_deletes_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let listed = || files::listed(dir.path(), false).map(|all| all.into_iter().map(Prefix::host).collect());
        let text = |hosts: &str| -> Vec<u8> {
            let line = |host: &str| format!("{host}:3:Sat Nov 21 23:38:26 2026\n");
            hosts.split_whitespace().map(line).collect::<String>().into_bytes()
        };
        let (before, after) = ("192.0.2.1 192.0.2.2", "192.0.2.1 192.0.2.2 192.0.2.3");
        let put = |name: &str, hosts: &str, step: Step<'_>| write(dir.path(), name, &text(hosts), step).map(|_| ());
        for name in ["hosts", "hosts-valid", "hosts-root", "hosts-restricted"] {
            put(name, "", &mut |_| Ok(())).unwrap();
        }
        for fails in ["create", "write", "sync", "rename", "after it"] {
            for crashes in [false, true] {
                put("hosts", before, &mut |_| Ok(())).unwrap();
                let mut at = |step: &'static str| match step == fails {
                    true if crashes => panic!("killed at {step}"),
                    true => Err(std::io::ErrorKind::StorageFull.into()),
                    false => Ok(()),
                };
                // A panic leaves behind what a kill does: nothing is tidied up.
                let came = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| put("hosts", after, &mut at)));
                assert!(!matches!(came, Ok(Ok(()))), "{fails}");
                let want = if fails == "after it" { after } else { before };
                assert_eq!(listed(), Ok(set(want)), "{fails}");
                put("hosts", after, &mut |_| Ok(())).unwrap();
                assert_eq!(listed(), Ok(set(after)), "{fails}, and once more");
            }
        }
        let names: BTreeSet<_> = std::fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
    }
}
