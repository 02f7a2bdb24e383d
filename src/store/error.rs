//! Why the store cannot be used.

use std::path::PathBuf;

use super::open::MIGRATIONS;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another denyd has the state directory.
    #[error("another denyd (pid {pid}) uses {}; stop it first, or ask it: denyd status", .dir.display())]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// Its process, as it wrote it.
        pid: String,
    },
    /// The state directory cannot be made, opened or locked.
    #[error("cannot use the state directory {}: {error}", .dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A file that is to be a copy, or was one.
    #[error("{tried} {}: {error}", .file.display())]
    File {
        /// What was tried.
        tried: &'static str,
        /// On which file.
        file: PathBuf,
        /// Why it failed.
        error: std::io::Error,
    },
    /// Somebody else may write the state directory, and so say who is denied and who is allowed.
    #[error("others may write the state directory {}: {why}; see what is in it, then: {remedy}", .dir.display())]
    Open {
        /// Which.
        dir: PathBuf,
        /// Who may.
        why: String,
        /// What puts that right.
        remedy: String,
    },
    /// Written by a newer denyd.
    #[error("{} was written by a newer denyd (schema {found}, this one knows {}); install that version again; or begin with what is denied now: mv {} {}.corrupt-newer", .file.display(), MIGRATIONS.len(), .file.display(), .file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its schema.
        found: usize,
    },
    /// SQLite says no.
    #[error("{tried} in {}: {error}", .file.display())]
    Sqlite {
        /// The database.
        file: PathBuf,
        /// What was tried.
        tried: &'static str,
        /// Why not.
        error: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether it is the disk that says no: it is full, broken or cannot be written, and may be well again.
    pub fn is_of_the_disk(&self) -> bool {
        use nix::errno::Errno;
        match self {
            StoreError::Directory { error, .. } => error.raw_os_error().is_some_and(|number| {
                let disk = [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS, Errno::EIO];
                disk.contains(&Errno::from_raw(number))
            }),
            StoreError::Sqlite { error, .. } => matches!(
                error.sqlite_error_code(),
                Some(
                    rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::SystemIoFailure
                        | rusqlite::ErrorCode::ReadOnly
                        | rusqlite::ErrorCode::CannotOpen
                )
            ),
            _ => false,
        }
    }

    /// Whether the file is no database any more, so that it should be set aside.
    pub fn is_corrupt(&self) -> bool {
        let StoreError::Sqlite { error, .. } = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
        )
    }
}
