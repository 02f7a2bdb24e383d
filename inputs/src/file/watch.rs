//! Knows when something may have happened to a file.
//!
//! inotify is a hint, never a truth: a wake without cause costs one read, and what it does not see (a network file
//! system, a link further up) is seen when it is time to look anyway. Without inotify only that is left.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::input::Wake;

/// How late a change is seen where inotify does not see it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The same for a file of which inotify has told a change: only a link further up escapes it.
const LOOK_SELDOM: Duration = Duration::from_secs(1);

/// How many times 4 KiB of events are taken at once; what is left wakes the next wait.
const DRAINS_MAX: usize = 64;

/// What one follower is woken by.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Option<Inotify>,
    directory: Option<WatchDescriptor>,
    file: Option<WatchDescriptor>,
    /// There may be events that were not taken.
    is_waiting: bool,
    /// inotify has told a change of this file.
    is_proven: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        // Fails where a user has too many of them, or the kernel has none.
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Watch { inotify, directory: None, file: None, is_waiting: false, is_proven: false }
    }

    #[cfg(test)]
    pub(crate) fn without_inotify(&mut self) {
        (self.inotify, self.directory, self.file) = (None, None, None);
    }

    /// Stops watching the file that was followed; the next [`wake`](Self::wake) is given another.
    pub(crate) fn forget_file(&mut self) {
        self.is_proven = false;
        if let (Some(inotify), Some(file)) = (&self.inotify, self.file.take()) {
            // Fails if the file is gone already, and its watch with it.
            let _ = inotify.rm_watch(file);
        }
    }

    /// What an event in `directory` or on `file` wakes.
    pub(crate) fn wake(&mut self, directory: &Path, file: Option<&File>) -> Wake<'_> {
        self.is_waiting = true;
        let within = match self.add(directory, file) {
            true => Duration::ZERO, // what happened before the watch was set has not been seen
            false if self.is_proven => LOOK_SELDOM,
            false => LOOK_EVERY,
        };
        Wake { fd: self.inotify.as_ref().map(|inotify| inotify.as_fd()), within }
    }

    /// Sets the watches that are not set, and says whether there was one to set.
    fn add(&mut self, directory: &Path, file: Option<&File>) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut added = false;
        if self.directory.is_none() {
            use AddWatchFlags as Flag;
            let flags = Flag::IN_CREATE | Flag::IN_MOVE | Flag::IN_DELETE | Flag::IN_MOVE_SELF;
            self.directory = inotify.add_watch(directory, flags).ok();
            added |= self.directory.is_some();
        }
        if let (None, Some(file)) = (self.file, file) {
            // By descriptor: the name may be another file by now.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            // IN_ATTRIB is what comes of a file that is deleted while it is open.
            let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ATTRIB;
            self.file = inotify.add_watch(Path::new(&path), flags).ok();
            added |= self.file.is_some();
        }
        added
    }

    /// Takes the events that came. To be called before the file is looked at, or what comes between would be missed.
    pub(crate) fn take(&mut self) {
        let Some(inotify) = self.inotify.as_ref().filter(|_| self.is_waiting) else { return };
        self.is_waiting = false;
        for _ in 0..DRAINS_MAX {
            let Ok(events) = inotify.read_events() else { return };
            for event in events {
                let is_gone = event.mask.contains(AddWatchFlags::IN_IGNORED);
                let is_moved = event.mask.contains(AddWatchFlags::IN_MOVE_SELF);
                if self.directory == Some(event.wd) && (is_gone || is_moved) {
                    let _ = inotify.rm_watch(event.wd); // its path is another directory now, or none
                    self.directory = None;
                }
                if self.file == Some(event.wd) {
                    self.is_proven |= event.mask.contains(AddWatchFlags::IN_MODIFY);
                    self.file = self.file.filter(|_| !is_gone);
                }
            }
        }
    }
}
