//! A place in the journal, as journald writes it: `s=…;i=…;b=…;m=…;t=…;x=…`.

use std::fmt;
use std::str::FromStr;

/// A 128-bit id: of a boot, of a sequence of numbers. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id128(pub u128);

impl fmt::Display for Id128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Id128 {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Id128).ok_or(NotAPlace)
    }
}

/// The text is no cursor of journald's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of the systemd journal")]
pub struct NotAPlace;

/// One entry of the journal: its number in a sequence, and its stamps.
///
/// Prints and parses as journald's own cursor, so that the readers can be swapped and people can hand it to
/// `journalctl --cursor=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Place {
    /// Which sequence; journald begins a new one with a new journal, and goes on with it over rotation and boots.
    pub seqnum_id: Id128,
    /// The entry's number in its sequence.
    pub seqnum: u64,
    /// The boot it was logged in.
    pub boot_id: Id128,
    /// Microseconds since that boot.
    pub monotonic: u64,
    /// Microseconds since 1970, by journald's clock.
    pub realtime: u64,
    /// journald's hash of its fields, where it is known.
    pub xor_hash: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { seqnum_id, seqnum, boot_id, monotonic, realtime, .. } = self;
        write!(f, "s={seqnum_id};i={seqnum:x};b={boot_id};m={monotonic:x};t={realtime:x}")?;
        self.xor_hash.map_or(Ok(()), |hash| write!(f, ";x={hash:x}"))
    }
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let find = |key: &str| text.split(';').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
        let number = |key| find(key).map(|value| u64::from_str_radix(value, 16).map_err(|_| NotAPlace));
        Ok(Place {
            seqnum_id: find("s").ok_or(NotAPlace)?.parse()?,
            seqnum: number("i").ok_or(NotAPlace)??,
            boot_id: find("b").ok_or(NotAPlace)?.parse()?,
            monotonic: number("m").ok_or(NotAPlace)??,
            realtime: number("t").ok_or(NotAPlace)??,
            xor_hash: number("x").transpose()?,
        })
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = NotAPlace;

    fn try_from(text: String) -> Result<Self, NotAPlace> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str =
        "s=d3a1c2cfe4b34c3c9d4e5f60718293a4;i=1f4;b=00000000000000000000000000000abc;m=2f;t=60a24e2fbd340;x=9a";

    #[test]
    fn reads_and_prints_journalds_cursor() {
        let place: Place = REAL.parse().unwrap();
        assert_eq!((place.seqnum, place.monotonic, place.xor_hash), (0x1f4, 0x2f, Some(0x9a)));
        assert_eq!(place.to_string(), REAL);
        assert_eq!(serde_json::to_string(&place).unwrap(), format!("{REAL:?}"));
        let without = REAL.strip_suffix(";x=9a").unwrap();
        assert_eq!(without.parse::<Place>().unwrap().to_string(), without);
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "s=", "i=1", &REAL.replace("i=1f4", "i=g"), &REAL.replace("i=", "j="), &REAL[2..]] {
            assert_eq!(text.parse::<Place>(), Err(NotAPlace), "{text}");
        }
        assert!("+0000000000000000000000000000000".parse::<Id128>().is_err());
        assert!(serde_json::from_str::<Place>("\"x\"").is_err());
    }
}
