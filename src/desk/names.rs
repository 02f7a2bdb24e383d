//! Host names on the allow list: what they resolve to is told, kept over a restart, and allowed.

use inputs::record::Timestamp;

use super::reply::{self, At};
use super::{Desk, Effects, Progress};
use crate::decide::names::{Answer, KEPT, Known, Name, Names, News};
use crate::store::{Store, StoreError};

/// The note that has what the names resolve to.
const NAMES: &str = "names";
/// That a name still resolves is written so often.
const KEPT_EVERY_S: i64 = 3_600;
/// The days of [`KEPT`].
const DAYS: u64 = KEPT.as_secs() / 86_400;

/// What the names resolved to last. What cannot be understood is asked for anew.
pub(super) fn kept(store: &Store) -> Result<Names, StoreError> {
    let note = store.database.note(NAMES)?;
    Ok(note.and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default())
}

impl Desk {
    /// The host names on the allow list.
    pub fn allowed_names(&self) -> Vec<Name> {
        self.engine.policy.allow.names().cloned().collect()
    }

    /// A resolver said what a name resolves to. What is allowed by that is released.
    pub fn hear_name(&mut self, name: &Name, answer: Answer, now: Timestamp) -> Effects {
        if !self.engine.policy.allow.names().any(|one| one == name) {
            return Effects::default();
        }
        let written = self.names.get(name).and_then(|known| known.resolved);
        let news = self.names.hear(name, answer, now);
        let Some(Known { addresses, resolved, failing }) = self.names.get(name) else { return Effects::default() };
        let problem = failing.as_ref().map_or("", |(_, problem)| problem);
        match news {
            News::Moved(more) => {
                let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                tracing::info!(%name, addresses, left_out = more, "this name of the allow list resolves to other addresses, which are allowed now");
            }
            News::Back => tracing::info!(%name, "this name of the allow list resolves again, to the same addresses"),
            News::Failing if addresses.is_empty() => {
                tracing::warn!(%name, problem, "this name of the allow list does not resolve, so it allows nobody");
            }
            News::Failing => {
                tracing::warn!(%name, problem, "this name of the allow list resolves no longer; what it resolved to stays allowed for {DAYS} days");
            }
            News::Dropped => {
                tracing::warn!(%name, problem, "this name of the allow list has not resolved for {DAYS} days: what it resolved to is allowed no longer");
            }
            News::None => {
                let is_due = resolved.map(Timestamp::secs).zip(written.map(Timestamp::secs));
                if is_due.is_none_or(|(now, then)| now.div_euclid(KEPT_EVERY_S) == then.div_euclid(KEPT_EVERY_S)) {
                    return Effects::default();
                }
            }
        }
        self.keep_names();
        match news {
            News::Moved(_) | News::Dropped => self.policy_changed(name.as_str(), now),
            _ => self.effects(now, Progress::More),
        }
    }

    pub(super) fn keep_names(&mut self) {
        self.set_note(NAMES.to_owned(), serde_json::to_string(&self.names).unwrap_or_default());
    }

    /// The host names on the allow list, and what they resolve to.
    pub(super) fn named(&self) -> Vec<reply::Name> {
        let row = |name: &Name| {
            let Known { addresses, resolved, failing } = self.names.get(name).cloned().unwrap_or_default();
            let (failing, problem) = failing.unzip();
            reply::Name {
                name: name.to_string(),
                addresses,
                resolved: resolved.map(At),
                failing: failing.map(At),
                problem,
            }
        };
        self.engine.policy.allow.names().map(row).collect()
    }

    /// An entry of the allow list by which an address is allowed: as it was written; of a host name, when it resolved so.
    pub(super) fn allowed_as(&self, entry: &str) -> String {
        let known = entry.parse().ok().and_then(|name| self.names.get(&name));
        let Some(Known { resolved: Some(resolved), failing, .. }) = known else { return entry.to_owned() };
        let second = |at: &Timestamp| Timestamp::from_secs(at.secs());
        let stale = |(since, _): &(Timestamp, String)| format!(", and resolves no longer since {}", second(since));
        let stale = failing.as_ref().map(stale).unwrap_or_default();
        format!("{entry}, which resolved to it at {}{stale}", second(resolved))
    }
}
