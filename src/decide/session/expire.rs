//! Time, as the lines of each origin host tell it: when a connection is forgotten, and when what waits is decided.

use inputs::record::Timestamp;

use super::{
    HostClock, HostId, IDLE, Key, LINGER, LOGIN, LOGINS_MAX, Late, Login, LoginKey, OWN_FOR, PAM_WINDOW, Place,
    SESSIONS_MAX, Sessions, Trust, host_of,
};

impl Sessions {
    /// A line came: moves its host's clock. Then [`Sessions::expire`], then [`Sessions::fold`].
    pub fn tell(&mut self, place: Place) {
        let index = usize::from(place.host.0);
        if self.clocks.len() <= index {
            self.clocks.resize(index + 1, HostClock::default());
        }
        let clock = &mut self.clocks[index];
        let at = place.at.max(Timestamp(1)); // who says 1970 has spoken, too
        let lag = lag(place.received, at);
        if clock.received == Timestamp::default() || lag < clock.lag {
            clock.lag = lag;
        }
        if clock.now < at {
            clock.now = at;
            self.is_due = true;
        }
        clock.received = clock.received.max(place.received);
    }

    pub(super) fn clock(&self, host: HostId) -> Timestamp {
        self.clocks.get(usize::from(host.0)).map_or(Timestamp::default(), |clock| clock.now)
    }

    /// The wall clock moved: for hosts that have been silent as much time is over as for us, and for those that speak hardly less. A
    /// stranger may claim to be a host, and that its clock stands still: what others wait for must not wait for that.
    pub fn tick(&mut self, wall: Timestamp) {
        self.is_due = true;
        for clock in self.clocks.iter_mut().filter(|clock| clock.now != Timestamp::default()) {
            if clock.received == Timestamp::default() {
                // Taken back at a start: it may be about to tell of what happened long ago.
                clock.received = wall;
                clock.lag = lag(wall, clock.now);
            }
            let is_silent = clock.received.after(PAM_WINDOW) < wall;
            let told = Timestamp(wall.0.saturating_sub(clock.lag));
            clock.now = clock.now.max(if is_silent { told } else { told.before(PAM_WINDOW) });
        }
    }

    /// Up to when all hosts have told what happened, as far as we can know: a host that spoke within the last seconds
    /// may be telling of an outage.
    pub fn told(&self, wall: Timestamp) -> Timestamp {
        let speaks = |clock: &&HostClock| clock.now != Timestamp::default() && clock.received.after(PAM_WINDOW) >= wall;
        self.clocks.iter().filter(speaks).map(|clock| clock.now).fold(wall, Timestamp::min)
    }

    /// Takes the next attempt whose time to wait is over, by the clocks of the hosts.
    #[inline(always)]
    pub fn expire(&mut self) -> Option<Late> {
        // Asked twice a line, while clocks move once a second.
        if !self.is_due && self.overdue.is_empty() {
            return None;
        }
        let late = self.next_overdue();
        self.is_due = late.is_some();
        late
    }

    fn next_overdue(&mut self) -> Option<Late> {
        if let Some(late) = self.next_pam() {
            return Some(late);
        }
        while let Some((due, about)) = self.own_order.front().copied() {
            let now = self.clock(about.0);
            let crowded = self.own.len() > SESSIONS_MAX;
            if due.after(OWN_FOR) >= now && !crowded {
                break;
            }
            self.own_order.pop_front();
            match self.own.get(&about) {
                // sshd has written about it again since.
                Some(own) if own.seen.after(OWN_FOR) >= now && !crowded => self.own_order.push_back((own.seen, about)),
                _ => {
                    self.own.swap_remove(&about);
                }
            }
        }
        while let Some((due, key)) = self.order.front().copied() {
            let now = self.clock(host_of(key));
            if due.after(IDLE + LINGER) >= now {
                break;
            }
            self.order.pop_front();
            match self.map.get(&key) {
                Some(session) if session.seen.after(IDLE) >= now => self.order.push_back((session.seen, key)),
                Some(session) => {
                    if let (Key::Port(host, address, port), Some(trust)) = (key, session.succeeded) {
                        let (key, seen) = ((host, address, port), session.seen);
                        self.logins_order.push_back((seen, key));
                        self.logins.insert(key, Login { seen, trust });
                    }
                    self.forget(key);
                }
                None => {}
            }
        }
        while let Some((since, key)) = self.logins_order.front().copied() {
            if since.after(LOGIN) >= self.clock(key.0) && self.logins_order.len() <= LOGINS_MAX {
                break;
            }
            self.logins_order.pop_front();
            self.forget_login(since, key);
        }
        self.overdue.pop_front()
    }

    /// The end of the log: nothing more will come, so all that waits is decided.
    pub fn finish(&mut self) {
        self.is_due = true;
        for clock in &mut self.clocks {
            clock.now = clock.now.after(IDLE + IDLE);
        }
    }

    /// Makes room: forgets the oldest connection that is no login, else the oldest login.
    pub(super) fn evict(&mut self) {
        let before = self.len();
        while self.len() == before {
            if let Some((_, key)) = self.order.pop_front() {
                self.forget(key);
            } else if let Some((since, key)) = self.logins_order.pop_front() {
                self.forget_login(since, key);
            } else {
                return;
            }
        }
        self.evicted += 1;
    }

    /// Forgets a login, unless it was heard of again since.
    fn forget_login(&mut self, since: Timestamp, key: LoginKey) {
        if self.logins.get(&key).is_some_and(|login| login.seen == since) {
            self.logins.remove(&key);
            self.mark(Key::Port(key.0, key.1, key.2));
        }
    }

    pub(super) fn forget(&mut self, key: Key) {
        let Some(session) = self.map.remove(&key) else { return };
        self.mark(key);
        if session.peer.is_none() {
            self.unresolved += u64::from(session.attempts(Trust::Forgeable).max(u32::from(session.offered.is_some())));
        }
        self.overdue.extend(session.overdue(key));
    }
}

/// How far behind our clock a line is, in microseconds.
fn lag(received: Timestamp, at: Timestamp) -> i64 {
    received.0.saturating_sub(at.0).max(0)
}
