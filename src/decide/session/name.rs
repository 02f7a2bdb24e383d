//! A user's name at a fixed size.

use serde::{Deserialize, Serialize};

/// Bytes of a name that are kept; sshd itself prints no more of it where it counts.
const KEPT: usize = 100;

/// A user's name, cut to a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    len: u8,
    bytes: [u8; KEPT],
}

impl Name {
    /// The first bytes of `text`.
    pub fn cut(text: &[u8]) -> Self {
        let len = text.len().min(KEPT);
        let mut bytes = [0; KEPT];
        bytes[..len].copy_from_slice(&text[..len]);
        Name { len: len as u8, bytes }
    }

    /// The bytes that were kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Name::cut(&Vec::<u8>::deserialize(deserializer)?))
    }
}
