//! Where a file stands that root writes, and where others may write, too: a log in `/var/log`, a list in a web root.
//!
//! Whoever may write a directory may put a link to any file there, and between two of our calls, too. So a path is walked once,
//! name by name, and a link on the way is followed only if root or our own user made it. From then on its directory is held
//! open, and whatever is opened, replaced or removed is so in that directory, by its name alone, and never through a link.
//!
//! A directory that nobody but root and we may write needs none of this, and what is in it is what its administrator put there.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags, mkdirat, openat, readlinkat, renameat, unlinkat};
use rustix::io::Errno;

use crate::whose::is_ours;

/// Links that a path may lead through, as the kernel has it.
const LINKS_MAX: usize = 40;
/// The most bytes of all names of a file's extended attributes, and of one value: Linux' own limits.
const ATTRIBUTES_MAX: usize = 64 * 1024;
/// Attributes that say what is in a file, and so are no other file's.
const OF_CONTENT: &[&[u8]] = &[b"security.ima", b"security.evm"];
/// The mode of a fresh file that is like no other, and of a directory that is made.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// A name in a directory that is held open.
#[derive(Debug)]
pub(crate) struct Spot {
    directory: OwnedFd,
    name: OsString,
    /// Where that is, without links.
    path: PathBuf,
    is_link: bool,
}

/// What becomes of a link in the last place, and of directories that are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Follow,
    Itself,
    /// The same, and the directories are made.
    Make,
}

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Seen {
    /// What a file looks like.
    pub(crate) fn of(metadata: &Metadata) -> Seen {
        Seen {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Old {
    file: File,
    /// What it looked like before that: a change meanwhile shows as a difference afterwards.
    pub(crate) metadata: Metadata,
}

impl Spot {
    /// Where a path leads; the file itself may be missing. An error names a link that somebody else made.
    pub(crate) fn of(path: &Path) -> io::Result<Spot> {
        Self::walked(path, Walk::Follow)
    }

    /// The same, but a link in the last place is what stands there.
    pub(crate) fn itself(path: &Path) -> io::Result<Spot> {
        Self::walked(path, Walk::Itself)
    }

    /// The same; directories that are missing are made, with mode 0755.
    pub(crate) fn made(path: &Path) -> io::Result<Spot> {
        Self::walked(path, Walk::Make)
    }

    fn walked(path: &Path, walk: Walk) -> io::Result<Spot> {
        let path = std::path::absolute(path)?;
        let root = || openat(rustix::fs::CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let (mut directory, mut walked) = (root()?, PathBuf::from("/"));
        let (mut left, mut links, mut is_link) = (names(&path), 0, false);
        while let Some(name) = left.pop() {
            let is_last = left.is_empty();
            let there =
                |directory, name, path: &Path, is_link| Ok(Spot { directory, path: path.join(&name), name, is_link });
            if is_last && walk != Walk::Follow && name != ".." {
                return there(directory, name, &walked, is_link);
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(&directory, &name, flags, Mode::empty()) {
                Err(Errno::NOENT) if is_last => return there(directory, name, &walked, is_link),
                Err(Errno::NOENT) if walk == Walk::Make => {
                    mkdirat(&directory, &name, Mode::from_raw_mode(DIRECTORY_MODE))?;
                    openat(&directory, &name, flags, Mode::empty())?
                }
                found => found?,
            };
            let found = File::from(found);
            let metadata = found.metadata()?;
            if metadata.is_symlink() {
                if !is_ours(&metadata) {
                    return Err(io::Error::other(format!(
                        "{} is a link that uid {} made, and is not followed; remove it, or name what it leads to",
                        walked.join(&name).display(),
                        metadata.uid()
                    )));
                }
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                let target = PathBuf::from(OsString::from_vec(readlinkat(&found, "", Vec::new())?.into_bytes()));
                if target.is_absolute() {
                    (directory, walked) = (root()?, PathBuf::from("/"));
                }
                left.extend(names(&target));
                is_link |= is_last;
            } else if is_last && name != ".." {
                return there(directory, name, &walked, is_link);
            } else if metadata.is_dir() {
                directory = found.into();
                if name == ".." { _ = walked.pop() } else { walked.push(name) }
            } else {
                return Err(Errno::NOTDIR.into());
            }
        }
        Err(Errno::ISDIR.into())
    }

    /// Another name in the same directory: this one with something before and behind it.
    fn beside(&self, before: &str, behind: &str) -> OsString {
        [OsStr::new(before), &self.name, OsStr::new(behind)].into_iter().collect()
    }

    /// Where it is, without links, for people.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path itself is a link.
    pub(crate) fn is_link(&self) -> bool {
        self.is_link
    }

    /// What stands there, if anything; a link is itself.
    pub(crate) fn look(&self) -> io::Result<Option<Metadata>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.directory, &self.name, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            found => File::from(found?).metadata().map(Some),
        }
    }

    /// What that looks like.
    pub(crate) fn seen(&self) -> io::Result<Option<Seen>> {
        Ok(self.look()?.as_ref().map(Seen::of))
    }

    /// Opens the file to read it, whoever put it there; it is an error if it is none.
    pub(crate) fn peek(&self) -> io::Result<File> {
        let file = self.opened(OFlags::RDONLY, 0)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
    }

    /// Opens the file; a fresh one has this mode. It is an error if it is no file, as a FIFO that nobody reads would hold us up and
    /// a device take anything, and if others [may have put it there](Self::admit).
    pub(crate) fn open(&self, flags: OFlags, mode: u32) -> io::Result<File> {
        let file = self.opened(flags, mode)?;
        self.admit(&file.metadata()?)?;
        Ok(file)
    }

    fn opened(&self, flags: OFlags, mode: u32) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            openat(&self.directory, &self.name, flags, Mode::from_raw_mode(mode)).map_err(|error| match error {
                Errno::LOOP => io::Error::other("it is a link, and is not followed"),
                // A FIFO that nobody reads.
                Errno::NXIO => no_file(),
                error => error.into(),
            })?;
        Ok(file.into())
    }

    /// An error if it is no file, or one that somebody else may have put there: in a directory that others may write it must be
    /// root's or ours, and have no other name, by which it may be any file of the machine.
    pub(crate) fn admit(&self, found: &Metadata) -> io::Result<()> {
        if !found.is_file() {
            return Err(no_file());
        }
        let directory = File::from(self.directory.try_clone()?).metadata()?;
        if is_ours(&directory) && directory.mode() & 0o022 == 0 {
            return Ok(());
        }
        let (path, uid) = (self.path.display(), found.uid());
        match (is_ours(found), found.nlink()) {
            (true, 0..=1) => Ok(()),
            (true, _) => Err(io::Error::other(format!(
                "it has another name, which others may have given it, so it may be any file: remove {path}"
            ))),
            (false, _) => Err(io::Error::other(format!(
                "it is uid {uid}'s, in a directory that others may write: chown root {path}, or remove it"
            ))),
        }
    }

    /// The bytes of the file, so many at most, and the file; nothing if it is missing.
    pub(crate) fn read(&self, most: u64) -> io::Result<(Vec<u8>, Option<Old>)> {
        let file = match self.open(OFlags::RDONLY, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), None)),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let mut bytes = Vec::new();
        (&file).take(most + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > most {
            true => Err(io::Error::other(format!("it is larger than {} MiB", most >> 20))),
            false => Ok((bytes, Some(Old { file, metadata }))),
        }
    }

    /// Adds bytes to the end of the file that was seen, and returns what it looks like then; `None` if it is another one by now,
    /// of which nothing is changed, or if somebody else wrote it at the same time.
    pub(crate) fn append(&self, seen: Seen, added: &[u8]) -> io::Result<Option<Seen>> {
        let mut file = self.open(OFlags::WRONLY | OFlags::APPEND, 0)?;
        if Seen::of(&file.metadata()?) != seen {
            return Ok(None);
        }
        if let Err(error) = file.write_all(added).and_then(|()| file.sync_all()) {
            // Half a line may be there. What others appended meanwhile is not taken away with it.
            if file.metadata().is_ok_and(|now| now.len() <= seen.size + added.len() as u64) {
                _ = file.set_len(seen.size);
            }
            return Err(error);
        }
        let now = Seen::of(&file.metadata()?);
        let is_alone = now.size == seen.size + added.len() as u64 && self.seen()? == Some(now);
        Ok(is_alone.then_some(now))
    }

    /// Gives what is called so with one end the same name with another end, in that directory.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.directory, self.beside("", from), &self.directory, self.beside("", to))?)
    }

    /// Removes what stands there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.directory, &self.name, AtFlags::empty())?)
    }

    /// Sees that the names in the directory outlast a crash.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        File::from(openat(&self.directory, ".", flags, Mode::empty())?).sync_all()
    }
}

fn no_file() -> io::Error {
    io::Error::other("it is no file")
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// A new file beside the old one, so that nobody sees half of it; removed again if it is not renamed.
pub(crate) struct Temporary<'a> {
    spot: &'a Spot,
    name: OsString,
    file: File,
    /// Extended attributes of the old file that could not be given to it.
    pub(crate) lost: Vec<String>,
}

impl<'a> Temporary<'a> {
    /// Writes and syncs it, with owner, mode and extended attributes of the old file (an SELinux label and an ACL are such), or
    /// with 0644. Its name is `.NAME.SUFFIX`: what is there by that name is left of a crash of ours.
    pub(crate) fn write(spot: &'a Spot, suffix: &str, bytes: &[u8], old: Option<&Old>) -> io::Result<Self> {
        let name = spot.beside(".", &format!(".{suffix}"));
        _ = unlinkat(&spot.directory, &name, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(&spot.directory, &name, flags, Mode::from_raw_mode(0o600))?);
        let mut temporary = Temporary { spot, name, file, lost: Vec::new() };
        let Temporary { file, lost, .. } = &mut temporary;
        file.write_all(bytes)?;
        let own = file.metadata()?;
        if let Some(Old { file: old, metadata }) = old {
            if (metadata.uid(), metadata.gid()) != (own.uid(), own.gid()) {
                std::os::unix::fs::fchown(&*file, Some(metadata.uid()), Some(metadata.gid()))?;
            }
            *lost = copy_attributes(old, file);
        }
        let mode = old.map_or(FILE_MODE, |old| old.metadata.mode() & 0o7777);
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        Ok(temporary)
    }

    /// Puts it in the place of the old one; returns what it looks like. [`Spot::sync`] is to follow.
    pub(crate) fn rename(self) -> io::Result<Seen> {
        let seen = Seen::of(&self.file.metadata()?);
        renameat(&self.spot.directory, &self.name, &self.spot.directory, &self.spot.name)?;
        Ok(seen)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        _ = unlinkat(&self.spot.directory, &self.name, AtFlags::empty()); // once it was renamed there is none
    }
}

/// Gives a file the extended attributes of another one; returns the names of those that it does not take.
pub(crate) fn copy_attributes(from: &File, to: &File) -> Vec<String> {
    let mut names = vec![0; ATTRIBUTES_MAX];
    // A file system that knows none has none.
    let len = rustix::fs::flistxattr(from, &mut names[..]).unwrap_or(0);
    names.truncate(len);
    let mut value = vec![0; ATTRIBUTES_MAX];
    let mut lost = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty() && !OF_CONTENT.contains(name)) {
        let copied = rustix::fs::fgetxattr(from, name, &mut value[..])
            .and_then(|len| rustix::fs::fsetxattr(to, name, &value[..len], XattrFlags::empty()));
        if copied.is_err() {
            lost.push(String::from_utf8_lossy(OsStr::from_bytes(name).as_bytes()).into_owned());
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, lchown, symlink};

    use super::*;

    /// A user that is neither root nor us.
    const STRANGER: u32 = 65_534;

    /// Where a path leads, below the directory; `-` where it leads nowhere.
    #[test]
    fn a_path_is_walked_as_the_kernel_walks_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        symlink("b", root.join("a/to-b")).unwrap();
        symlink(root.join("a"), root.join("a/b/to-a")).unwrap();
        symlink("../file", root.join("a/b/link")).unwrap();
        symlink("none", root.join("a/dangling")).unwrap();
        symlink("round", root.join("a/round")).unwrap();
        let check = |path: &str, want: &str| {
            let found = Spot::of(&root.join(path)).map(|spot| spot.path().strip_prefix(&root).unwrap().to_owned());
            assert_eq!(found.unwrap_or("-".into()), Path::new(want), "{path}");
        };
        check("a/file", "a/file");
        check("a/./b/../file", "a/file");
        check("a/to-b/to-a/file", "a/file");
        check("a/to-b/link", "a/file");
        check("a/missing", "a/missing");
        check("a/dangling", "a/none");
        check("a/to-b", "a/b");
        check("a/file/x", "-");
        check("a/none/x", "-");
        check("a/round", "-");
        check("a/b/..", "-");
        let itself = Spot::itself(&root.join("a/to-b/link")).unwrap();
        assert!(itself.path().ends_with("a/b/link") && itself.look().unwrap().unwrap().is_symlink());
        assert!(itself.open(OFlags::RDONLY, 0).unwrap_err().to_string().contains("a link"));
        Spot::made(&root.join("new/er/file")).unwrap();
        assert!(root.join("new/er").is_dir());
        assert!(Spot::of(Path::new("")).is_err() && Spot::of(Path::new("/")).is_err());
    }

    /// Only root can make files of others.
    #[test]
    fn what_others_may_have_put_there_is_refused() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["theirs", "ours"] {
            fs::create_dir(at(name)).unwrap();
            symlink(at("victim"), at(name).join("link")).unwrap();
            lchown(at(name).join("link"), Some(STRANGER), None).unwrap();
            symlink(at("victim"), at(name).join("root-link")).unwrap();
            fs::write(at(name).join("file"), "").unwrap();
            fs::write(at(name).join("strange"), "").unwrap();
            chown(at(name).join("strange"), Some(STRANGER), None).unwrap();
        }
        fs::write(at("victim"), "").unwrap();
        fs::hard_link(at("victim"), at("theirs/second")).unwrap();
        fs::hard_link(at("ours/file"), at("ours/second")).unwrap();
        symlink(at("ours"), at("theirs/dir")).unwrap();
        lchown(at("theirs/dir"), Some(STRANGER), None).unwrap();
        let check = |path: &str, want: Option<&str>| {
            let opened = Spot::of(&at(path)).and_then(|spot| spot.open(OFlags::RDONLY, 0)).map(|_| ());
            let told = opened.err().map(|error| error.to_string());
            match want {
                None => assert_eq!(told, None, "{path}"),
                Some(want) => assert!(told.as_ref().is_some_and(|told| told.contains(want)), "{path}: {told:?}"),
            }
        };
        let both = |is_theirs: bool| {
            check("theirs/file", None);
            check("theirs/link", Some("a link that uid 65534 made"));
            check("theirs/dir/file", Some("a link that uid 65534 made"));
            check("theirs/strange", is_theirs.then_some("it is uid 65534's"));
            check("theirs/second", is_theirs.then_some("another name"));
            check("ours/link", Some("a link that uid 65534 made"));
            check("ours/strange", None);
            check("ours/second", None);
        };
        both(false);
        chown(at("theirs"), Some(STRANGER), None).unwrap();
        both(true);
        chown(at("theirs"), Some(0), None).unwrap();
        fs::set_permissions(at("theirs"), Permissions::from_mode(0o1777)).unwrap();
        both(true);
        // A link of root's is followed, and leads to a file with a second name, in a directory of root's.
        check("theirs/root-link", None);
    }

    /// What is swapped between our calls changes nothing of what it is swapped for.
    #[test]
    fn what_is_swapped_meanwhile_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("web")).unwrap();
        fs::create_dir(at("etc")).unwrap();
        fs::write(at("web/list"), "mine").unwrap();
        fs::write(at("etc/list"), "root's").unwrap();
        let spot = Spot::of(&at("web/list")).unwrap();
        let (_, old) = spot.read(100).unwrap();
        // The file becomes a link, and then its directory does.
        fs::remove_file(at("web/list")).unwrap();
        symlink(at("etc/list"), at("web/list")).unwrap();
        assert!(spot.open(OFlags::WRONLY, 0).is_err());
        Temporary::write(&spot, "new", b"new", old.as_ref()).unwrap().rename().unwrap();
        fs::rename(at("web"), at("elsewhere")).unwrap();
        symlink(at("etc"), at("web")).unwrap();
        Temporary::write(&spot, "new", b"newer", old.as_ref()).unwrap().rename().unwrap();
        assert_eq!(fs::read_to_string(at("elsewhere/list")).unwrap(), "newer");
        assert_eq!(fs::read_to_string(at("etc/list")).unwrap(), "root's");
        assert_eq!(fs::read_dir(at("etc")).unwrap().count(), 1);
    }
}
