//! Whom a deny must not lock out while they are logged in: who has uid 0 or is of one of some groups.

use std::collections::HashSet;
use std::path::Path;

use nix::unistd::{Gid, Group};

use crate::decide::policy::PROTECTED_MAX;

/// Where local users are: `passwd(5)`.
const PASSWD: &str = "/etc/passwd";

/// The names of these users, at most [`PROTECTED_MAX`] of them, and root. A group's members are asked for by NSS; whose
/// first group it is, is read from `/etc/passwd`, since NSS has no question for that.
pub(super) fn users(groups: &[String]) -> HashSet<Vec<u8>> {
    let found: Vec<_> = groups.iter().filter_map(|name| Group::from_name(name).ok().flatten()).collect();
    let gids: Vec<_> = found.iter().map(|group| group.gid).collect();
    let members = found.into_iter().flat_map(|group| group.mem).map(String::into_bytes);
    let passwd = std::fs::read(Path::new(PASSWD)).unwrap_or_default();
    let all = std::iter::once(b"root".to_vec()).chain(local(&passwd, &gids)).chain(members);
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
        let users = users(&["no-such-group".to_owned()]);
        assert!(users.contains(&b"root"[..]));
        // `daemon` has a group of its own name, on each system that has either.
        let members = super::users(&["daemon".to_owned()]);
        assert!(members.contains(&b"daemon"[..]) && !users.contains(&b"daemon"[..]), "{members:?}");
    }
}
