//! Finds a log's earlier files beside it, and their order.
//!
//! Rotation leaves `auth.log.1`, `auth.log.0` (savelog, newsyslog), `auth.log-20261122` (logrotate's `dateext`), or
//! `log-2026-11-22-06:25:01` beside a `current` (metalog).
//! The order comes from the names, for modification times tie; they may only object. What was compressed or moved
//! to another directory is not found.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use crate::cursor::FileId;
use crate::record::Timestamp;

/// A file shifted to its next name while the directory is read can be missed, so what is missed is looked for again.
const SCANS_MAX: usize = 4;

/// The same for a file that is searched by its inode: a rotation renames a file for each generation that is kept,
/// and who gives up too early skips all that is left to read.
const FINDS_MAX: usize = 100;

/// What follows a file that is being read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: the path still names it.
    Itself,
    /// Nothing yet: the path names no file.
    Missing,
    /// The current file, but nothing is written in it yet: perhaps the writer has not let go of the old one.
    Empty,
    /// This file: the current one, or one between that was rotated away itself by now.
    File {
        path: PathBuf,
        id: FileId,
        /// The file before is beside it, under a rotated one's name.
        is_rotated: bool,
    },
}

/// Says what follows the file `id` of the log `path`.
pub(super) fn next(path: &Path, id: FileId) -> io::Result<Next> {
    for _ in 0..SCANS_MAX {
        let current = match fs::metadata(path) {
            Ok(metadata) if FileId::of(&metadata) == id => return Ok(Next::Itself),
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(generations) = settled_generations(path, id)? else { continue };
        let current_id = current.as_ref().map(FileId::of);
        let is_rotated = generations.iter().any(|it| Some(it.id) == current_id);
        if is_rotated && !path.is_symlink() {
            continue; // renamed since we asked: what was current is among the rotated
        }
        // Where the path is a link to `log-20261122`, the current file has a rotated one's name.
        if let Some(rotated) = later(&generations, id).filter(|it| Some(it.id) != current_id) {
            return Ok(Next::File { path: rotated.path.clone(), id: rotated.id, is_rotated: true });
        }
        return Ok(match current {
            None => Next::Missing,
            Some(metadata) if metadata.is_file() && metadata.len() == 0 => Next::Empty,
            Some(metadata) => {
                let (id, is_rotated) = (FileId::of(&metadata), !generations.is_empty());
                Next::File { path: path.to_owned(), id, is_rotated }
            }
        });
    }
    // It is being rotated under our eyes; the next poll sees it.
    Ok(Next::Itself)
}

/// The generations among which `id` is, or may be; `None` if they change while we look.
fn settled_generations(path: &Path, id: FileId) -> io::Result<Option<Vec<Generation>>> {
    for path in places(path) {
        let generations = generations(&path)?;
        if !is_same(&generations, &self::generations(&path)?) {
            return Ok(None);
        }
        if generations.iter().any(|it| it.id == id) {
            return Ok(Some(generations));
        }
    }
    Ok(Some(Vec::new()))
}

/// Whether two looks saw the same names; times go on changing.
fn is_same(one: &[Generation], two: &[Generation]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.id == two.id && one.path == two.path)
}

/// The generation after `id`, among those named in the same way.
///
/// Some programs count upwards, so that the greatest number is the latest. What was last written to before `id`
/// was does not come after it, whatever its name says: to read old files again would be worse than to miss one.
fn later(generations: &[Generation], id: FileId) -> Option<&Generation> {
    let at = generations.iter().position(|it| it.id == id)?;
    let scheme = std::mem::discriminant(&generations[at].age);
    generations[at + 1..]
        .iter()
        .find(|it| std::mem::discriminant(&it.age) == scheme && it.modified >= generations[at].modified)
}

/// Where a log is: its path and, where that is a link, what it points to. Rotation happens beside either.
fn places(path: &Path) -> Vec<PathBuf> {
    let target = fs::read_link(path).ok().map(|target| directory(path).join(target));
    std::iter::once(path.to_owned()).chain(target).collect()
}

/// Whether `name` is what rotation makes of `path`.
pub(super) fn is_rotated(path: &Path, name: &Path) -> bool {
    places(path).iter().any(|path| directory(path) == directory(name) && Age::among(base(path), base(name)).is_some())
}

/// Finds the file `id` beside `path`, under whatever name.
pub(super) fn find(path: &Path, id: FileId) -> io::Result<Option<PathBuf>> {
    let mut before = None;
    for _ in 0..FINDS_MAX {
        let mut seen = Vec::new();
        for place in places(path) {
            for entry in entries(&place)? {
                let entry = entry?;
                let name = entry.file_name();
                // An overlay may show other inodes in its directories than in its files, so ours are asked always.
                let is_ours =
                    name.as_bytes().starts_with(base(&place)) || Age::among(base(&place), name.as_bytes()).is_some();
                if is_ours || entry.ino() == id.inode {
                    match fs::metadata(entry.path()) {
                        Ok(metadata) if FileId::of(&metadata) == id => return Ok(Some(entry.path())),
                        _ => seen.push((name, entry.ino())),
                    }
                }
            }
        }
        // Only a directory at rest proves that a file is not in it.
        seen.sort();
        if before.as_ref() == Some(&seen) {
            return Ok(None);
        }
        before = Some(seen);
    }
    Ok(None)
}

/// The directory that holds `path`.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// The directory's entries; none if it is gone or not to be listed, for then nothing is to be found in it.
fn entries(path: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    use io::ErrorKind::{NotFound, PermissionDenied};
    match fs::read_dir(directory(path)) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

fn base(path: &Path) -> &[u8] {
    path.file_name().map_or(&[], |name| name.as_bytes())
}

/// A file that the log was rotated to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Generation {
    age: Age,
    path: PathBuf,
    id: FileId,
    modified: Timestamp,
}

/// What a name says of its file's age; the greater, the later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// `.3`: the third before the current one.
    Number(std::cmp::Reverse<u64>),
    /// `-20261122`, `-20261122-1763769600`, `.2026-11-22`.
    Date(Vec<u8>),
}

impl Age {
    /// What the file `name` says of its age if the log `base` beside it was rotated to it.
    fn among(base: &[u8], name: &[u8]) -> Option<Self> {
        match name.strip_prefix(base) {
            Some(suffix) => Age::of(suffix),
            None if base == b"current" => Age::of_metalog(name),
            None => None,
        }
    }

    /// `log-2026-11-22-06:25:01`, as local time has it.
    fn of_metalog(name: &[u8]) -> Option<Self> {
        let date = name.strip_prefix(b"log-")?;
        let is_like = |(byte, like): (&u8, &u8)| if *like == b'0' { byte.is_ascii_digit() } else { byte == like };
        let pattern = b"0000-00-00-00:00:00";
        let is_date = date.len() == pattern.len() && date.iter().zip(pattern).all(is_like);
        is_date.then(|| Age::Date(date.to_vec()))
    }

    /// Reads what stands behind the log's own name. A number of 8 digits is a date.
    fn of(suffix: &[u8]) -> Option<Self> {
        let (&separator, rest) = suffix.split_first()?;
        let digits = rest.iter().filter(|byte| byte.is_ascii_digit()).count();
        let is_plain = rest.iter().all(|byte| byte.is_ascii_digit() || b"-_.T".contains(byte));
        match separator {
            b'.' if digits == rest.len() && (1..8).contains(&digits) => {
                let number = std::str::from_utf8(rest).ok()?.parse().ok()?;
                Some(Age::Number(std::cmp::Reverse(number)))
            }
            b'.' | b'-' | b'_' if is_plain && digits >= 8 => Some(Age::Date(rest.to_vec())),
            _ => None,
        }
    }
}

/// The files that `path` was rotated to, the oldest first.
fn generations(path: &Path) -> io::Result<Vec<Generation>> {
    let mut found = Vec::new();
    for entry in entries(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(age) = Age::among(base(path), name.as_bytes()) else { continue };
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if metadata.is_file() {
            found.push(Generation {
                age,
                path: entry.path(),
                id: FileId::of(&metadata),
                modified: super::modified(&metadata),
            });
        }
    }
    found.sort_by(|a, b| a.age.cmp(&b.age));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file that was last written to `seconds` after the epoch.
    fn write_at(path: &Path, seconds: u64) {
        fs::write(path, "x").unwrap();
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    }

    /// Which of `names`, if any, follows the file `name` of the log `auth.log`.
    fn check(names: &[&str], name: &str, want: &str) {
        check_of("auth.log", names, name, want);
    }

    fn check_of(log: &str, names: &[&str], name: &str, want: &str) {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            write_at(&dir.path().join(name), 7); // all at once, so that only the names tell
        }
        let path = dir.path().join(log);
        let id = FileId::of(&fs::metadata(dir.path().join(name)).unwrap());
        let got = match next(&path, id).unwrap() {
            Next::Itself => "itself".to_owned(),
            Next::Missing => "missing".to_owned(),
            Next::Empty => "empty".to_owned(),
            Next::File { path, .. } => path.file_name().unwrap().to_str().unwrap().to_owned(),
        };
        assert_eq!(got, want, "{names:?} after {name}");
        let found = find(&path, id).unwrap().unwrap();
        assert_eq!(found.file_name().unwrap().to_str().unwrap(), name);
    }

    #[test]
    fn orders_by_name() {
        check(&["auth.log"], "auth.log", "itself");
        check(&["auth.log", "auth.log.1"], "auth.log.1", "auth.log");
        check(&["auth.log.1"], "auth.log.1", "missing");
        check(&["auth.log", "auth.log.1", "auth.log.2", "auth.log.10"], "auth.log.10", "auth.log.2");
        check(&["auth.log", "auth.log.1", "auth.log.2", "auth.log.10"], "auth.log.2", "auth.log.1");
        check(&["auth.log", "auth.log.0", "auth.log.1"], "auth.log.1", "auth.log.0");
        check(&["auth.log", "auth.log-20261122", "auth.log-20261121"], "auth.log-20261121", "auth.log-20261122");
        check(&["auth.log", "auth.log-20261122", "auth.log-20261122-1"], "auth.log-20261122", "auth.log-20261122-1");
        check(&["auth.log", "auth.log.1", "auth.log-20261122"], "auth.log-20261122", "auth.log");
        check(&["auth.log", "auth.log.2", "auth.log.1.gz", "auth.log.old", "auth.log2"], "auth.log.2", "auth.log");
        check(&["auth.log", "saved"], "saved", "auth.log");
    }

    #[test]
    fn orders_what_metalog_names() {
        let [one, two] = ["log-2026-11-21-23:59:59", "log-2026-11-22-00:00:03"];
        check_of("current", &["current", one], one, "current");
        check_of("current", &[one], one, "missing");
        check_of("current", &["current", two, one], one, two);
        check_of("current", &["current", two, one], two, "current");
        check_of("current", &["current", one, "log-2026-11-22-00:00:03.gz", "log-2026"], one, "current");
        check_of("auth.log", &["auth.log", one, two], one, "auth.log");
        let rotated = |log: &str| is_rotated(&Path::new("/d").join(log), &Path::new("/d").join(one));
        assert!(rotated("current") && !rotated("auth.log"));
    }

    #[test]
    fn numbers_that_count_upwards_are_not_followed_downwards() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["log.1", "log.2", "log.3", "log"].map(|name| dir.path().join(name));
        for (path, seconds) in paths.iter().zip(1..) {
            write_at(path, seconds);
        }
        let [_, _, last, current] = &paths;
        let [last, id] = [last, current].map(|path| FileId::of(&fs::metadata(path).unwrap()));
        assert_eq!(next(current, last).unwrap(), Next::File { path: current.clone(), id, is_rotated: true });
    }

    #[test]
    fn looks_beside_what_a_link_points_to() {
        let dir = tempfile::tempdir().unwrap();
        let [link, far] = ["log", "far"].map(|name| dir.path().join(name));
        fs::create_dir(&far).unwrap();
        for name in ["real", "real.1", "real.2"] {
            write_at(&far.join(name), 7);
        }
        std::os::unix::fs::symlink("far/real", &link).unwrap();
        let [one, two] = ["real.1", "real.2"].map(|name| FileId::of(&fs::metadata(far.join(name)).unwrap()));
        assert_eq!(next(&link, two).unwrap(), Next::File { path: far.join("real.1"), id: one, is_rotated: true });
        assert_eq!(find(&link, two).unwrap(), Some(far.join("real.2")));
        assert!(is_rotated(&link, &far.join("real.2")) && !is_rotated(&link, &far.join("other.2")));
    }

    #[test]
    fn a_link_to_the_newest_is_the_current_file() {
        let dir = tempfile::tempdir().unwrap();
        let [link, old, new] = ["log", "log-20261121", "log-20261122"].map(|name| dir.path().join(name));
        fs::write(&old, "old").unwrap();
        fs::write(&new, "").unwrap();
        std::os::unix::fs::symlink(&new, &link).unwrap();
        let [old, id] = [&old, &new].map(|path| FileId::of(&fs::metadata(path).unwrap()));
        assert_eq!(next(&link, old).unwrap(), Next::Empty);
        fs::write(&new, "new").unwrap();
        assert_eq!(next(&link, old).unwrap(), Next::File { path: link.clone(), id, is_rotated: true });
        assert_eq!(next(&link, id).unwrap(), Next::Itself);
    }

    #[test]
    fn finds_nothing_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let id = FileId { device: 0, inode: 1 };
        assert_eq!(find(&dir.path().join("auth.log"), id).unwrap(), None);
        assert_eq!(next(&dir.path().join("auth.log"), id).unwrap(), Next::Missing);
        assert_eq!(next(&dir.path().join("no/auth.log"), id).unwrap(), Next::Missing);
        fs::write(dir.path().join("auth.log"), "").unwrap();
        assert_eq!(next(&dir.path().join("auth.log"), id).unwrap(), Next::Empty);
        assert_eq!(directory("auth.log".as_ref()), Path::new("."));
    }
}
