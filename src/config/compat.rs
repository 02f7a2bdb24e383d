//! What who comes from DenyHosts goes on with: `[compat]`.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::codec::{Codec, duration, unless, yes};
use super::key::Key;
use super::values::path;

/// What is as it was with DenyHosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// The directory in which DenyHosts' files are kept current; `None` = they are not written.
    pub work_dir: Option<PathBuf>,
    /// Whether what a person deleted by hand is forgiven where there is no work directory. Default false.
    pub forgive_deleted: bool,
    /// Where the daemon's pid is written for scripts that look there; `None` = nowhere.
    pub lock_file: Option<PathBuf>,
    /// How old a deny is at least that `denyhosts --purge` ends; `None` = as `deny_for` says.
    pub purge_after: Option<Duration>,
}

impl Compat {
    /// Whether what a person deleted while denyd was stopped is forgiven.
    pub fn forgives(&self) -> bool {
        self.forgive_deleted || self.work_dir.is_some()
    }
}

/// The keys of `[compat]`.
pub(super) fn keys() -> Vec<Key<Config>> {
    vec![
        key("work_dir", path().optional(), |c| &mut c.work_dir)
            .denyhosts("WORK_DIR")
            .example(r#""/var/lib/denyhosts""#)
            .says(
                "The directory in which DenyHosts' files are kept current, for people and scripts that read them: hosts,
                hosts-valid, hosts-root, hosts-restricted, users-valid, users-invalid, users-hosts, suspicious-logins and
                purge-history. It is made if it is not there, and nobody but root and denyd's own user may write it. Whose lines
                are deleted from the first four and from hosts.deny, all of them and while denyd is stopped, is forgiven at the
                start; denyhosts.md of the documentation says when not. No default.",
            ),
        key("forgive_deleted", yes(), |c| &mut c.forgive_deleted).says(
            "Whether that is so also without a work_dir: then the deleted line of hosts.deny alone does.",
        ),
        key("lock_file", path().optional(), |compat| &mut compat.lock_file)
            .denyhosts("LOCK_FILE")
            .example(r#""/run/denyhosts.pid""#)
            .says(
                "A file into which the daemon writes its pid, for scripts that look for it there. It hinders no start: a pid in
                it of which no process lives is written over, a directory that is missing is made, and where the file cannot be
                written that is logged. No default.",
            ),
        key("purge_after", unless("deny_for", duration), |compat| &mut compat.purge_after)
            .example(r#""4w""#)
            .says(
                r#"How old a deny is, at least, that `denyhosts --purge` ends: for who has denies end by that alone, with
                deny_for = "forever". "deny_for": as old as that says."#,
            ),
    ]
}

/// A key, and where its value is.
fn key<T: 'static>(name: &'static str, codec: Codec<T>, place: fn(&mut Compat) -> &mut T) -> Key<Config> {
    Key::new(name, codec, move |config: &mut Config| Some(place(&mut config.compat)))
}
