//! Whom a deny must not lock out while they are logged in: who has uid 0 or is of one of some groups.
//!
//! Who is of a group, NSS says, which may ask a directory server that does not answer. It is asked in a thread of its own and
//! waited for a moment only: until it answers, what this machine's own files say holds.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::unistd::{Gid, Group};
use tokio::sync::watch;

use crate::decide::policy::PROTECTED_MAX;

/// Where local users are: `passwd(5)`.
const PASSWD: &str = "/etc/passwd";
/// Where local groups are: `group(5)`.
const GROUP: &str = "/etc/group";
/// How long NSS is waited for.
pub(super) const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// What NSS said after nobody waited for it any more: of these groups, these users.
pub(super) type Late = Option<(Vec<String>, HashSet<Vec<u8>>)>;

/// Some groups, of which it is asked who is in them.
pub(super) struct Asking {
    groups: Vec<String>,
    shared: Arc<(Mutex<Answer>, Condvar)>,
}

enum Answer {
    /// It is waited for.
    Awaited,
    /// It is here.
    Here(Members),
    /// It comes too late.
    GivenUp,
}

/// The numbers of some groups, and who is named in them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Members {
    gids: Vec<Gid>,
    names: Vec<Vec<u8>>,
}

impl Asking {
    /// Asks NSS. An answer that is late goes to `late`.
    pub(super) fn begin(groups: &[String], late: watch::Sender<Late>) -> Asking {
        Asking::by(groups, by_nss, late)
    }

    fn by(
        groups: &[String],
        ask: impl FnOnce(&[String]) -> Members + Send + 'static,
        late: watch::Sender<Late>,
    ) -> Asking {
        let asking =
            Asking { groups: groups.to_vec(), shared: Arc::new((Mutex::new(Answer::Awaited), Condvar::new())) };
        let (names, shared) = (asking.groups.clone(), asking.shared.clone());
        let begun = std::thread::Builder::new().name("groups".to_owned()).spawn(move || {
            let members = ask(&names);
            let mut answer = lock(&shared.0);
            if let Answer::GivenUp = *answer {
                let users = users(&names, members);
                tracing::info!(groups = names.join(", "), users = users.len(), "who is of protect_groups is known now");
                // Nobody may want to know any more.
                let _ = late.send(Some((names, users)));
            } else {
                *answer = Answer::Here(members);
                shared.1.notify_all();
            }
        });
        if let Err(error) = begun {
            tracing::warn!(%error, "no thread can be begun to ask who is of protect_groups");
        }
        asking
    }

    /// Whether there is an answer.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(*lock(&self.shared.0), Answer::Awaited)
    }

    /// The names of these users, at most [`PROTECTED_MAX`] of them, and root. The answer is waited for so long.
    pub(super) fn users(self, within: Duration) -> HashSet<Vec<u8>> {
        let (answer, news) = &*self.shared;
        let is_awaited = |answer: &mut Answer| matches!(answer, Answer::Awaited);
        let waited = news.wait_timeout_while(lock(answer), within, is_awaited);
        let mut answer = waited.unwrap_or_else(PoisonError::into_inner).0;
        match std::mem::replace(&mut *answer, Answer::GivenUp) {
            Answer::Here(members) => users(&self.groups, members),
            Answer::Awaited | Answer::GivenUp => {
                tracing::warn!(
                    groups = self.groups.join(", "),
                    "it takes long to ask who is of protect_groups (see nsswitch.conf(5)); until there is an answer, who is so in \
                     /etc/group and /etc/passwd is protected"
                );
                users(&self.groups, of_file(&std::fs::read(GROUP).unwrap_or_default(), &self.groups))
            }
        }
    }
}

/// Nothing is left half done under it, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn by_nss(groups: &[String]) -> Members {
    let found: Vec<_> = groups.iter().filter_map(|name| Group::from_name(name).ok().flatten()).collect();
    let gids = found.iter().map(|group| group.gid).collect();
    Members { gids, names: found.into_iter().flat_map(|group| group.mem).map(String::into_bytes).collect() }
}

/// What the lines of a `group(5)` say of some groups.
fn of_file(file: &[u8], groups: &[String]) -> Members {
    let mut members = Members::default();
    for line in file.split(|&byte| byte == b'\n') {
        let fields: Vec<_> = line.split(|&byte| byte == b':').collect();
        let [name, _, gid, names] = fields[..] else { continue };
        let number = std::str::from_utf8(gid).ok().and_then(|gid| gid.parse().ok());
        let Some(gid) = number.filter(|_| groups.iter().any(|group| group.as_bytes() == name)) else { continue };
        members.gids.push(Gid::from_raw(gid));
        let names = names.split(|&byte| byte == b',').filter(|name| !name.is_empty());
        members.names.extend(names.map(<[u8]>::to_vec));
    }
    members
}

/// The names of these members, with root and with whose first group it is. That is read from `/etc/passwd`, since NSS has no
/// question for it.
fn users(groups: &[String], Members { gids, names }: Members) -> HashSet<Vec<u8>> {
    let passwd = std::fs::read(Path::new(PASSWD)).unwrap_or_default();
    let all = std::iter::once(b"root".to_vec()).chain(local(&passwd, &gids)).chain(names);
    let (first, is_all) = first(all, PROTECTED_MAX);
    if !is_all {
        tracing::warn!(
            groups = groups.join(", "),
            "more than {PROTECTED_MAX} users are of protect_groups; name smaller groups"
        );
    }
    first
}

/// The first `most` of these names, and whether that is all of them.
fn first(names: impl Iterator<Item = Vec<u8>>, most: usize) -> (HashSet<Vec<u8>>, bool) {
    let mut first = HashSet::new();
    for name in names {
        if first.len() >= most && !first.contains(&name) {
            return (first, false);
        }
        first.insert(name);
    }
    (first, true)
}

/// Of the lines of a `passwd(5)` the names of those with uid 0, or whose first group is one of these.
fn local<'a>(passwd: &'a [u8], gids: &'a [Gid]) -> impl Iterator<Item = Vec<u8>> + 'a {
    passwd.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u32>().ok();
        let is_one = number(uid) == Some(0) || number(gid).is_some_and(|gid| gids.contains(&Gid::from_raw(gid)));
        (is_one && !name.is_empty()).then(|| name.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_uid_0_or_the_group_is_one() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\ntoor:*:0:0::/:\nal:x:1000:27::/home/al:/bin/sh\n\
            bob:x:1001:1001::/:\n:x:0:0::/:\nbroken\nodd:x:zero:27\nold:x:1:x:\n# a comment\n";
        let gids = [Gid::from_raw(27)];
        let names = local(passwd, &gids).map(|name| String::from_utf8(name).unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["root", "toor", "al", "odd"]);
    }

    #[test]
    fn beyond_the_bound_the_first_are_taken_and_each_counts_once() {
        let check = |names: &[&str], most: usize, want: (&[&str], bool)| {
            let (first, is_all) = first(names.iter().map(|name| name.as_bytes().to_vec()), most);
            let want_names = want.0.iter().map(|name| name.as_bytes().to_vec()).collect();
            assert_eq!((first, is_all), (want_names, want.1), "{names:?}");
        };
        check(&["root", "al", "root", "al"], 2, (&["root", "al"], true));
        check(&["root", "al", "root", "bob", "al"], 2, (&["root", "al"], false));
        check(&["root"], 2, (&["root"], true));
    }

    #[test]
    fn root_is_always_one_and_a_group_that_is_not_there_is_none() {
        let users = |group: &str| Asking::begin(&[group.to_owned()], watch::Sender::new(None)).users(ASKED_WITHIN);
        let (none, members) = (users("no-such-group"), users("daemon"));
        assert!(none.contains(&b"root"[..]));
        // `daemon` has a group of its own name, on each system that has either.
        assert!(members.contains(&b"daemon"[..]) && !none.contains(&b"daemon"[..]), "{members:?}");
    }

    #[test]
    fn groups_are_read_from_their_file() {
        let file =
            b"root:x:0:\nsudo:x:27:al,bob\n# a comment\nwheel:x:odd:eve\nadmin:x:28:,al\nbroken:x:29\nother:x:30:dan\n";
        let groups = ["sudo", "wheel", "admin", "broken"].map(str::to_owned);
        let names = ["al", "bob", "al"].map(|name| name.as_bytes().to_vec()).to_vec();
        let gids = [27, 28].map(Gid::from_raw).to_vec();
        assert_eq!(of_file(file, &groups), Members { gids, names });
    }

    /// As a directory server without a network.
    #[test]
    fn who_answers_too_late_is_not_waited_for() {
        let (late, told) = watch::channel(None);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let names = || Members { gids: Vec::new(), names: vec![b"al".to_vec()] };
        let hang = move |_: &[String]| {
            let _ = ended.recv();
            names()
        };
        let groups = ["daemon".to_owned()];
        let users = Asking::by(&groups, hang, late.clone()).users(Duration::from_millis(10));
        let has = |users: &HashSet<Vec<u8>>| ["root", "daemon", "al"].map(|name| users.contains(name.as_bytes()));
        assert_eq!(has(&users), [true, true, false], "by the files of this machine");
        assert!(told.borrow().is_none());
        end.send(()).unwrap();
        let users = kit::until("it answers", || told.borrow().clone());
        assert_eq!((&users.0[..], has(&users.1)), (&groups[..], [true, false, true]));
        // Who is in time is taken, and told nobody else.
        let (late, told) = watch::channel(None);
        let users = Asking::by(&groups, move |_| names(), late).users(ASKED_WITHIN);
        assert_eq!((has(&users), told.borrow().is_none()), ([true, false, true], true));
    }
}
