//! The time on each origin host, as its lines show it.

use inputs::record::Timestamp;

use super::line::{HostId, Line, WINDOW};

/// Up to when a host has told what happened.
#[derive(Clone, Copy, Debug, Default)]
struct Watermark {
    now: Timestamp,
    /// When its last line came; nothing before the first since we started.
    received: Timestamp,
    /// How far behind our clock the most timely of its lines was, in microseconds.
    lag: i64,
    /// By how much later than itself a deny began to last that its last line led to, in microseconds.
    late: i64,
    /// Its sshd told of a failure or a login itself.
    speaks: bool,
}

/// The watermarks of all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Watermarks(Vec<Watermark>);

impl Watermarks {
    /// A line came; whether that moves the watermark of its host.
    pub(super) fn tell(&mut self, line: &Line) -> bool {
        let mark = self.mark(line.host);
        let at = line.at.max(Timestamp(1)); // who says 1970 has spoken, too
        let lag = lag(line.received, at);
        mark.late = line.from.0.saturating_sub(line.at.0);
        if mark.received == Timestamp::default() || lag < mark.lag {
            mark.lag = lag;
        }
        mark.received = mark.received.max(line.received);
        let moved = mark.now < at;
        mark.now = mark.now.max(at);
        moved
    }

    /// Where the watermark of a host is.
    pub(super) fn of(&self, host: HostId) -> Timestamp {
        self.0.get(usize::from(host.0)).map_or(Timestamp::default(), |mark| mark.now)
    }

    /// From when a deny lasts to which leads what waited since `at`: as for the last line of its host.
    pub(super) fn from(&self, host: HostId, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add(self.0.get(usize::from(host.0)).map_or(0, |mark| mark.late)))
    }

    /// Whether sshd told of failures or logins on a host itself.
    pub(super) fn speaks(&self, host: HostId) -> bool {
        self.0.get(usize::from(host.0)).is_some_and(|mark| mark.speaks)
    }

    /// It did.
    pub(super) fn spoke(&mut self, host: HostId) {
        self.mark(host).speaks = true;
    }

    /// The wall clock moved: for hosts that have been silent as much time is over as for us, and for those that speak
    /// hardly less. A stranger may claim to be a host, and that its clock stands still: what others wait for must not
    /// wait for that.
    pub(super) fn tick(&mut self, wall: Timestamp) {
        for mark in self.0.iter_mut().filter(|mark| mark.now != Timestamp::default()) {
            if mark.received == Timestamp::default() {
                // Taken back at a start: it may be about to tell of what happened long ago.
                mark.received = wall;
                mark.lag = lag(wall, mark.now);
            }
            let is_silent = mark.received.after(WINDOW) < wall;
            let told = Timestamp(wall.0.saturating_sub(mark.lag));
            mark.now = mark.now.max(if is_silent { told } else { told.before(WINDOW) });
        }
    }

    /// Moves all of them.
    pub(super) fn move_by(&mut self, time: std::time::Duration) {
        self.0.iter_mut().for_each(|mark| mark.now = mark.now.after(time));
    }

    /// Up to when all hosts have told what happened, as far as we can know: a host that spoke within the last seconds
    /// may be telling of an outage.
    pub(super) fn least(&self, wall: Timestamp) -> Timestamp {
        let speaks = |mark: &&Watermark| mark.now != Timestamp::default() && mark.received.after(WINDOW) >= wall;
        self.0.iter().filter(speaks).map(|mark| mark.now).fold(wall, Timestamp::min)
    }

    fn mark(&mut self, host: HostId) -> &mut Watermark {
        let index = usize::from(host.0);
        if self.0.len() <= index {
            self.0.resize(index + 1, Watermark::default());
        }
        &mut self.0[index]
    }
}

/// How far behind our clock a line is, in microseconds.
fn lag(received: Timestamp, at: Timestamp) -> i64 {
    received.0.saturating_sub(at.0).max(0)
}
