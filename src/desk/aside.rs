//! Questions that read much of the database and nothing else: whoever asks one has a connection and a thread of its own, so
//! that the engine does not wait for it.

use std::sync::Mutex;

use inputs::record::Timestamp;

use super::reply::{self, At, Reply};
use super::{Desk, Filter, ROWS_MAX, Request, What};
use crate::decide::prefix::Prefix;
use crate::store::{Database, Pair, StoreError};
use crate::text::shown;

/// One at a time: many who ask would else take the processors.
static TURN: Mutex<()> = Mutex::new(());

/// Such a question.
pub struct Aside {
    database: Database,
    within: Option<Prefix>,
    most: usize,
}

impl Desk {
    /// The request as such a question, if it is one. A rehearsal is in memory, where no other connection leads.
    pub fn aside(&self, request: &Request) -> Option<Aside> {
        let Request::List { what: What::Pairs, filter: Filter { within, class: None, by: None, limit } } = *request
        else {
            return None;
        };
        let most = limit.unwrap_or(ROWS_MAX).min(ROWS_MAX);
        let database = self.store.reader()?;
        Some(Aside { database, within, most })
    }
}

impl Aside {
    /// The answer; `Err` is a message for the person who asked.
    pub fn answer(&self, now: Timestamp) -> Result<Reply, String> {
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pairs(&self.database, self.within, now, self.most).map_err(|error| error.to_string())
    }
}

/// The first `most` users with from where they were tried, the most often first.
pub(super) fn pairs(
    database: &Database,
    within: Option<Prefix>,
    now: Timestamp,
    most: usize,
) -> Result<Reply, StoreError> {
    let row = |Pair { user, prefix, attempts, last, denied }| {
        let (user, user_b64) = shown(&user);
        reply::Pair { user, user_b64, prefix, attempts, last: At(last), denied }
    };
    Ok(Reply::Pairs(database.pairs(within, now, most)?.into_iter().map(row).collect()))
}
