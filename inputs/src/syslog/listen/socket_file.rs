//! Makes and removes the file of a unix socket.
//!
//! A file that nobody listens on is left over from a crash and replaced; one that is in use, and any other kind of
//! file, is an error. The umask is the process's and is not touched: the socket is made unusable for others before
//! it gets its name (Linux takes the file's mode from the socket's own), and gets its mode after.

use super::{Listen, ListenError, Options};
use crate::cursor::FileId;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, setsockopt, sockopt};
use nix::sys::stat::{Mode, fchmod};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A socket's file; removed when dropped, if it is still the same one.
pub(super) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| FileId::of(&file) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a socket of that kind for `listen`, and its file. One for datagrams passes credentials, from the first on.
pub(super) fn bind(
    listen: &Listen,
    path: &Path,
    kind: SockType,
    options: &Options,
) -> Result<(OwnedFd, SocketFile), ListenError> {
    let socket = open(kind).map_err(listen.failed())?;
    if kind == SockType::Datagram {
        setsockopt(&socket, sockopt::PassCred, &true).map_err(io::Error::from).map_err(listen.failed())?;
    }
    clear(path, kind, listen.failed())?;
    let file = name(&socket, path, options).map_err(listen.failed())?;
    if kind == SockType::Stream {
        socket::listen(&socket, Backlog::MAXCONN).map_err(io::Error::from).map_err(listen.failed())?;
    }
    Ok((socket, file))
}

fn open(kind: SockType) -> io::Result<OwnedFd> {
    Ok(socket::socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?)
}

/// Removes a socket file that nobody listens on.
fn clear(path: &Path, kind: SockType, failed: impl Fn(io::Error) -> ListenError) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NotSocket(path.into())),
        Ok(_) => {}
    }
    let probe = open(kind).map_err(&failed)?;
    let address = UnixAddr::new(path).map_err(|error| failed(error.into()))?;
    match connect(probe.as_raw_fd(), &address) {
        // EAGAIN: its queue is full. EPROTOTYPE: a socket of the other kind.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(ListenError::Live(path.into())),
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed),
        Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Gives a socket its file.
fn name(socket: &OwnedFd, path: &Path, options: &Options) -> io::Result<SocketFile> {
    fchmod(socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let file = SocketFile { path: path.into(), id: FileId::of(&fs::symlink_metadata(path)?) };
    if options.group.is_some() {
        std::os::unix::fs::chown(path, None, options.group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(options.mode & 0o777))?;
    Ok(file)
}
