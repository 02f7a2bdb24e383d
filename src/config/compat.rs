//! What who comes from DenyHosts goes on with: `[compat]`.

use std::path::PathBuf;

use super::Config;
use super::codec::{Codec, yes};
use super::key::Key;
use super::values::path;

/// What is as it was with DenyHosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// The directory in which DenyHosts' files are kept current; `None` = they are not written.
    pub work_dir: Option<PathBuf>,
    /// Whether what a person deleted by hand is forgiven where there is no work directory. Default false.
    pub forgive_deleted: bool,
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
    ]
}

/// A key, and where its value is.
fn key<T: 'static>(name: &'static str, codec: Codec<T>, place: fn(&mut Compat) -> &mut T) -> Key<Config> {
    Key::new(name, codec, move |config: &mut Config| Some(place(&mut config.compat)))
}
