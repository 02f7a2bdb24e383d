//! Waits until something may have happened to a file, or until told to stop waiting.
//!
//! inotify is a hint, never a truth: a wake without cause costs one poll, and what it does not see (a network
//! file system, a link further up) is seen at the timeout. Without inotify only the timeout is left.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// How many times 4 KiB of events are taken at once; what is left wakes the next wait.
const DRAINS_MAX: usize = 64;

/// Ends a [`wait`](super::follow::Follow::wait) from another thread. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Waker(Arc<UnixStream>);

impl Waker {
    /// Ends the wait that is going on, or else the next one.
    pub fn wake(&self) {
        // Full, it is awake; closed, nobody waits.
        let _ = (&*self.0).write(&[1]);
    }
}

/// What a [`Waker`] rings.
#[derive(Debug)]
pub(crate) struct Bell {
    woken: UnixStream,
    waker: Waker,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        Ok(Bell { woken, waker: Waker(Arc::new(waker)) })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Readable once it was rung.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// Makes it silent again.
    pub(crate) fn quiet(&self) {
        let mut bytes = [0; 64];
        while (&self.woken).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
    }
}

/// What one follower waits on.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Option<Inotify>,
    directory: Option<WatchDescriptor>,
    file: Option<WatchDescriptor>,
    bell: Bell,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        let bell = Bell::new()?;
        // Fails where a user has too many of them, or the kernel has none.
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        Ok(Watch { inotify, directory: None, file: None, bell })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.bell.waker()
    }

    #[cfg(test)]
    pub(crate) fn without_inotify(&mut self) {
        (self.inotify, self.directory, self.file) = (None, None, None);
    }

    /// Stops watching the file that was followed; the next [`wait`](Self::wait) is given another.
    pub(crate) fn forget_file(&mut self) {
        if let (Some(inotify), Some(file)) = (&self.inotify, self.file.take()) {
            // Fails if the file is gone already, and its watch with it.
            let _ = inotify.rm_watch(file);
        }
    }

    /// Waits for an event in `directory` or on `file`, for the waker, or for `timeout`.
    pub(crate) fn wait(&mut self, directory: &Path, file: Option<&File>, timeout: Duration) {
        if self.add(directory, file) {
            return; // what happened before the watch was set has not been seen
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(self.bell.fd(), PollFlags::POLLIN)];
        fds.extend(self.inotify.iter().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)));
        if poll(&mut fds, timeout).is_ok_and(|ready| ready > 0) {
            self.drain();
        }
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

    fn drain(&mut self) {
        self.bell.quiet();
        let Some(inotify) = &self.inotify else { return };
        for _ in 0..DRAINS_MAX {
            let Ok(events) = inotify.read_events() else { return };
            for event in events {
                let is_gone = event.mask.contains(AddWatchFlags::IN_IGNORED);
                let is_moved = event.mask.contains(AddWatchFlags::IN_MOVE_SELF);
                if self.directory == Some(event.wd) && (is_gone || is_moved) {
                    let _ = inotify.rm_watch(event.wd); // its path is another directory now, or none
                    self.directory = None;
                }
                if self.file == Some(event.wd) && is_gone {
                    self.file = None;
                }
            }
        }
    }
}
