//! Who is never denied: addresses, prefixes, ranges and wildcards, and the addresses of host names.
//!
//! Keeps the entries as the operator wrote them, in their order, and beside them the merged ranges that
//! decisions look into. A host name allows nothing by itself: nothing here asks anybody, and its addresses are [held](AllowList::hold)
//! as they become known.

use std::net::{IpAddr, Ipv4Addr};

use super::names::{BadName, NAMES_MAX, Name};
use super::prefix::Prefix;
use super::range::{self, Range};

/// The most ranges that one entry may stand for: `10.*.*.1` is 65 536 of them.
pub const ENTRY_RANGES_MAX: u64 = 65_536;

/// The most ranges that all entries of a list may stand for: about 10 MB of them.
pub const LIST_RANGES_MAX: usize = 262_144;

/// The allowed addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<Entry>,
    /// Sorted by address, neither overlapping nor touching.
    merged: Vec<Range>,
    /// How many ranges all entries stand for together.
    held: usize,
    /// How many of them are host names.
    named: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    text: String,
    means: Means,
}

/// What an entry means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// These addresses, in order, in ranges that neither overlap nor touch.
    Ranges(Vec<Range>),
    /// Those that this name resolves to.
    Name(Name),
    /// This one, as long as it is held: nobody wrote it.
    Held([Range; 1]),
}

impl Means {
    /// The addresses that are known by the entry alone.
    pub fn ranges(&self) -> &[Range] {
        match self {
            Means::Ranges(ranges) => ranges,
            Means::Name(_) => &[],
            Means::Held(range) => range,
        }
    }

    /// The host name that it is.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Means::Name(name) => Some(name),
            Means::Ranges(_) | Means::Held(_) => None,
        }
    }
}

/// Why an entry is not one, with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allow entry `{}`: {problem}", entry.chars().take(80).collect::<String>().escape_debug())]
pub struct BadEntry {
    /// The entry as it was written.
    pub entry: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing that we read.
    #[error(
        "not an address; write one such as 192.0.2.7 or 2001:db8::7, a prefix 192.0.2.0/24, \
         a range 192.0.2.[6-23] or 192.0.2.6-192.0.2.23, a wildcard 192.0.2.*, or a host name home.example.org"
    )]
    Shape,
    /// Letters, but no host name.
    #[error("{0}")]
    Name(BadName),
    /// Too many host names.
    #[error("the list would hold more than {NAMES_MAX} host names; write addresses or prefixes")]
    TooManyNames,
    /// A length behind the slash that there is not.
    #[error("`/{length}` is not a prefix length; write 0 to {most} for this family")]
    Length {
        /// As it was written.
        length: String,
        /// The greatest length.
        most: u8,
    },
    /// A part of an IPv4 pattern that is neither a number, nor `*`, nor a range of numbers.
    #[error(
        "`{0}` is not one of the four numbers of an IPv4 address; write 0 to 255, `*`, or a range such as `[6-23]`"
    )]
    Octet(String),
    /// Not four parts.
    #[error("an IPv4 address has four numbers, this has {0}; write `*` for those that do not matter")]
    Parts(usize),
    /// The end of a range comes before its beginning.
    #[error("the range ends before it begins; write it as {last}-{first}")]
    Backwards {
        /// What stands first.
        first: String,
        /// What stands last.
        last: String,
    },
    /// A range from one family to the other.
    #[error("a range is of IPv4 or of IPv6 addresses, not from one to the other; write two entries")]
    Families,
    /// A pattern with wildcards or ranges before numbers that do matter.
    #[error(
        "stands for {0} separate ranges, more than {ENTRY_RANGES_MAX}; put wildcards last, or write several entries"
    )]
    TooMany(u64),
    /// The list is full.
    #[error("the list would hold more than {LIST_RANGES_MAX} ranges; write wider prefixes")]
    Full,
}

/// An entry of a file that is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong.
    pub bad: BadEntry,
}

impl AllowList {
    /// Reads a file's contents: one entry a line, `#` begins a comment, blank lines mean nothing.
    ///
    /// What can be read is in the list; what cannot is named, all of it.
    pub fn read(contents: &[u8]) -> (Self, Vec<BadLine>) {
        let mut list = AllowList::default();
        let mut bad = Vec::new();
        for (index, line) in contents.split(|&byte| byte == b'\n').enumerate() {
            let entry = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
            if entry.is_empty() {
                continue;
            }
            // Only comments may be in whatever encoding they were written.
            let text = String::from_utf8_lossy(entry);
            if let Err(problem) = parse_entry(&text).and_then(|means| list.push(&text, means)) {
                bad.push(BadLine { line: index + 1, bad: problem });
            }
        }
        list.merge();
        (list, bad)
    }

    /// A list of these entries; the first that is none, or that finds it full, is named.
    pub fn of<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Self, BadEntry> {
        let mut list = AllowList::default();
        for entry in entries.map(str::trim) {
            list.push(entry, parse_entry(entry)?)?;
        }
        list.merge();
        Ok(list)
    }

    /// Adds an entry. `Ok(false)`: an entry that means the same was there already.
    pub fn add(&mut self, entry: &str) -> Result<bool, BadEntry> {
        let text = entry.trim();
        let means = parse_entry(text)?;
        if self.entries.iter().any(|known| known.means == means) {
            return Ok(false);
        }
        self.push(text, means)?;
        self.merge();
        Ok(true)
    }

    /// Adds all entries of `other` behind its own; the first that finds it full is named.
    pub fn extend(&mut self, other: &AllowList) -> Result<(), BadEntry> {
        let full = other.entries.iter().try_for_each(|entry| self.push(&entry.text, entry.means.clone()));
        self.merge();
        full
    }

    /// Adds prefixes that are allowed, each for a reason, as far as there is room.
    pub fn hold<'a>(&mut self, held: impl Iterator<Item = (&'a str, Prefix)>) {
        for (reason, prefix) in held {
            if self.push(reason, Means::Held([prefix.into()])).is_err() {
                break;
            }
        }
        self.merge();
    }

    /// Whether `address` is allowed.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let behind = self.merged.partition_point(|range| range.first <= address);
        behind > 0 && address <= self.merged[behind - 1].last
    }

    /// Whether every address of `prefix` is allowed.
    pub fn covers(&self, prefix: &Prefix) -> bool {
        let behind = self.merged.partition_point(|range| range.first <= prefix.address());
        behind > 0 && prefix.last() <= self.merged[behind - 1].last
    }

    /// The first entry that allows `address`, as it was written.
    pub fn allowed_by(&self, address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        let allows = |entry: &&Entry| entry.means.ranges().iter().any(|range| range.contains(address));
        self.entries.iter().find(allows).map(|entry| entry.text.as_str())
    }

    /// The allowed ranges: sorted, IPv4 first, neither overlapping nor touching.
    pub fn ranges(&self) -> impl Iterator<Item = Range> {
        self.merged.iter().copied()
    }

    /// The entries as they were written, in their order.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.text.as_str())
    }

    /// The host names among the entries.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.entries.iter().filter_map(|entry| entry.means.name())
    }

    /// Adds an entry without merging, and without looking for one that means the same: a long file would
    /// be compared with itself line by line.
    fn push(&mut self, text: &str, means: Means) -> Result<(), BadEntry> {
        let bad = |problem| Err(BadEntry { entry: text.to_owned(), problem });
        let (ranges, names) = (means.ranges().len(), usize::from(means.name().is_some()));
        if self.held + ranges > LIST_RANGES_MAX {
            return bad(Problem::Full);
        }
        if self.named + names > NAMES_MAX {
            return bad(Problem::TooManyNames);
        }
        self.held += ranges;
        self.named += names;
        self.entries.push(Entry { text: text.to_owned(), means });
        Ok(())
    }

    fn merge(&mut self) {
        self.merged =
            range::merge(self.entries.iter().flat_map(|entry| entry.means.ranges().iter().copied()).collect());
        self.merged.shrink_to_fit();
    }
}

/// What an entry means; `None` = it is none.
pub fn means(entry: &str) -> Option<Means> {
    parse(entry.trim()).ok()
}

fn parse_entry(text: &str) -> Result<Means, BadEntry> {
    parse(text).map_err(|problem| BadEntry { entry: text.to_owned(), problem })
}

fn parse(text: &str) -> Result<Means, Problem> {
    if let Ok(address) = address(text) {
        return Ok(Means::Ranges(vec![Range { first: address, last: address }]));
    }
    if let Some((address, length)) = text.split_once('/') {
        return prefix(text, address, length).map(Means::Ranges);
    }
    // A host name may hold a hyphen, an address may not.
    if let Some((Ok(first), Ok(last))) = text.split_once('-').map(|(first, last)| (address(first), address(last))) {
        return between(first, last).map(Means::Ranges);
    }
    if is_like_a_name(text) {
        return text.parse().map(Means::Name).map_err(Problem::Name);
    }
    if text.contains('.') && !text.ends_with('.') && !text.contains(|c: char| c == ':' || c.is_whitespace()) {
        return pattern(text).map(|ranges| Means::Ranges(range::merge(ranges)));
    }
    Err(Problem::Shape)
}

/// Whether an entry is meant as a host name. Three numbers with something behind are an address that was mistyped: `192.0.2.x`.
fn is_like_a_name(text: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let parts: Vec<_> = text.split('.').collect();
    let is_number = |part: &&&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_address = parts.len() == 4 && parts.iter().filter(is_number).count() == 3;
    text.chars().all(of_name) && text.chars().any(char::is_alphabetic) && !is_address
}

fn address(text: &str) -> Result<IpAddr, std::net::AddrParseError> {
    text.trim().parse().map(|address: IpAddr| address.to_canonical())
}

fn prefix(text: &str, address: &str, length: &str) -> Result<Vec<Range>, Problem> {
    match (text.parse::<Prefix>(), address.parse::<IpAddr>()) {
        (Ok(prefix), _) => Ok(vec![prefix.into()]),
        (Err(_), Ok(address)) => {
            let most = if address.is_ipv4() { 32 } else { 128 };
            Err(Problem::Length { length: length.chars().take(20).collect(), most })
        }
        (Err(_), Err(_)) => Err(Problem::Shape),
    }
}

fn between(first: IpAddr, last: IpAddr) -> Result<Vec<Range>, Problem> {
    if first.is_ipv4() != last.is_ipv4() {
        return Err(Problem::Families);
    }
    if last < first {
        return Err(Problem::Backwards { first: first.to_string(), last: last.to_string() });
    }
    Ok(vec![Range { first, last }])
}

/// `192.0.2.[6-23]`, `192.0.2.*`, `10.*`: in each place a number, all numbers, or some.
fn pattern(text: &str) -> Result<Vec<Range>, Problem> {
    let parts: Vec<&str> = text.split('.').collect();
    let open = parts.last() == Some(&"*");
    if parts.len() > 4 || (parts.len() < 4 && !open) {
        return Err(Problem::Parts(parts.len()));
    }
    let mut octets = [(0, 255); 4];
    for (octet, part) in octets.iter_mut().zip(parts) {
        *octet = octets_of(part)?;
    }
    // Behind `vary` every address counts; so each choice of the numbers before it is one range.
    let vary = octets.iter().rposition(|&octet| octet != (0, 255)).unwrap_or(0);
    let count: u64 = octets[..vary].iter().map(|&(low, high)| u64::from(high - low) + 1).product();
    if count > ENTRY_RANGES_MAX {
        return Err(Problem::TooMany(count));
    }
    let low = octets.map(|(low, _)| low);
    let mut first = low;
    let mut ranges = Vec::new();
    for _ in 0..count {
        let mut last = octets.map(|(_, high)| high);
        last[..vary].copy_from_slice(&first[..vary]);
        ranges.push(Range { first: Ipv4Addr::from(first).into(), last: Ipv4Addr::from(last).into() });
        // Counts up, the last place first.
        for place in (0..vary).rev() {
            if first[place] < octets[place].1 {
                first[place] += 1;
                break;
            }
            first[place] = low[place];
        }
    }
    Ok(ranges)
}

/// The numbers, from and to, that one part of a pattern stands for.
fn octets_of(part: &str) -> Result<(u8, u8), Problem> {
    let bad = || Problem::Octet(part.chars().take(20).collect());
    // A leading zero is octal to some and decimal to others.
    let number = |text: &str| match text {
        "0" => Ok(0),
        text if text.starts_with(|c: char| matches!(c, '1'..='9')) => text.parse::<u8>().map_err(|_| bad()),
        _ => Err(bad()),
    };
    if part == "*" {
        return Ok((0, 255));
    }
    let Some(range) = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) else {
        return number(part).map(|number| (number, number));
    };
    let (low, high) = range.split_once('-').ok_or_else(bad)?;
    let (low, high) = (number(low)?, number(high)?);
    if high < low {
        return Err(Problem::Backwards { first: low.to_string(), last: high.to_string() });
    }
    Ok((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an entry stands for: its merged ranges, or why it is refused.
    fn check(entry: &str, shown: &str) {
        let mut list = AllowList::default();
        let got = match list.add(entry) {
            Ok(_) => list.ranges().map(|r| format!("{}-{}", r.first, r.last)).collect::<Vec<_>>().join(" "),
            Err(bad) => bad.to_string(),
        };
        assert_eq!(got, shown, "{entry}");
    }

    #[test]
    fn reads_entries() {
        check("192.0.2.7", "192.0.2.7-192.0.2.7");
        check(" 192.0.2.7 ", "192.0.2.7-192.0.2.7");
        check("192.0.2.0/24", "192.0.2.0-192.0.2.255");
        check("192.0.2.77/24", "192.0.2.0-192.0.2.255");
        check("0.0.0.0/0", "0.0.0.0-255.255.255.255");
        check("2001:db8::7", "2001:db8::7-2001:db8::7");
        check("2001:db8::/127", "2001:db8::-2001:db8::1");
        check("::ffff:192.0.2.7", "192.0.2.7-192.0.2.7");
        check("::ffff:192.0.2.0/120", "192.0.2.0-192.0.2.255");
        check("::ffff:192.0.2.7-192.0.2.9", "192.0.2.7-192.0.2.9");
        check("192.0.2.250-198.51.100.3", "192.0.2.250-198.51.100.3");
        check("192.0.2.6 - 192.0.2.23", "192.0.2.6-192.0.2.23");
        check("2001:db8::1-2001:db8::9", "2001:db8::1-2001:db8::9");
        check("192.0.2.*", "192.0.2.0-192.0.2.255");
        check("10.*.*.*", "10.0.0.0-10.255.255.255");
        check("10.*", "10.0.0.0-10.255.255.255");
        check("10.1.*", "10.1.0.0-10.1.255.255");
    }

    /// DenyHosts documents `1.1.1.[6-23]` as inclusive and leaves 23 out; here it is in.
    #[test]
    fn ranges_of_denyhosts_include_their_end() {
        check("192.0.2.[6-23]", "192.0.2.6-192.0.2.23");
        check("192.0.2.[23-23]", "192.0.2.23-192.0.2.23");
        check("192.[0-3].*.*", "192.0.0.0-192.3.255.255");
        check("192.[0-1].[2-3].*", "192.0.2.0-192.0.3.255 192.1.2.0-192.1.3.255");
        check("192.0.[2-3].[254-255]", "192.0.2.254-192.0.2.255 192.0.3.254-192.0.3.255");
        check("192.0.[2-3].[0-255]", "192.0.2.0-192.0.3.255");
        check("[10-11].*", "10.0.0.0-11.255.255.255");
    }

    #[test]
    fn refuses_with_a_remedy() {
        let shape = "not an address; write one such as 192.0.2.7 or 2001:db8::7, a prefix 192.0.2.0/24, \
                     a range 192.0.2.[6-23] or 192.0.2.6-192.0.2.23, a wildcard 192.0.2.*, or a host name home.example.org";
        for bad in
            ["", "192.0.2.", "2001:db8::*", "2001:db8::[1-9]", "fe80::1%eth0", "ALL EXCEPT 192.0.2.1", "*", "web/24"]
        {
            check(bad, &format!("allow entry `{bad}`: {shape}"));
        }
        check(
            "192.0.2.7-23",
            "allow entry `192.0.2.7-23`: `7-23` is not one of the four numbers of an IPv4 address; write 0 to 255, `*`, or a range such as `[6-23]`",
        );
        check(
            "192.0.2.1/33",
            "allow entry `192.0.2.1/33`: `/33` is not a prefix length; write 0 to 32 for this family",
        );
        check("2001:db8::/", "allow entry `2001:db8::/`: `/` is not a prefix length; write 0 to 128 for this family");
        check(
            "192.0.2",
            "allow entry `192.0.2`: an IPv4 address has four numbers, this has 3; write `*` for those that do not matter",
        );
        check("192.0.2.[9-6]", "allow entry `192.0.2.[9-6]`: the range ends before it begins; write it as 6-9");
        check(
            "192.0.2.9-192.0.2.6",
            "allow entry `192.0.2.9-192.0.2.6`: the range ends before it begins; write it as 192.0.2.6-192.0.2.9",
        );
        check(
            "192.0.2.9-2001:db8::",
            "allow entry `192.0.2.9-2001:db8::`: a range is of IPv4 or of IPv6 addresses, not from one to the other; write two entries",
        );
        check(
            "*.*.*.7",
            "allow entry `*.*.*.7`: stands for 16777216 separate ranges, more than 65536; put wildcards last, or write several entries",
        );
        let name = "not a host name; such a name has at most 253 letters, digits and hyphens (IDN: write xn--…), at most \
                    63 from dot to dot, no hyphen beside a dot, no dot at its ends, and no number behind its last dot";
        for bad in [".example.org", "mail.example.org.", "my_host", "b\u{fc}ro.example.org", "0x7f.1", "a..b", "home.7"]
        {
            check(bad, &format!("allow entry `{}`: {name}", bad.escape_debug()));
        }
        check(
            "192.0.2.x",
            "allow entry `192.0.2.x`: `x` is not one of the four numbers of an IPv4 address; write 0 to 255, `*`, or a range such as `[6-23]`",
        );
        for octet in ["256", "-1", "+1", "007", "[1-256]", "[1-2", "[1]", "", "x y"] {
            let entry = format!("192.0.{octet}.*");
            assert!(AllowList::default().add(&entry).is_err(), "{entry}");
        }
        check("192.0.2.1\u{1b}[31m/24", &format!("allow entry `192.0.2.1\\u{{1b}}[31m/24`: {shape}"));
    }

    /// The example of DenyHosts' FAQ 3.7, with a name: nothing is known of it here.
    #[test]
    fn a_host_name_allows_what_is_held_for_it() {
        let (mut list, bad) = AllowList::read(b"foo\n1.1.1.*\n1.1.1.[6-23]\nHome.example.org # desk\n");
        assert_eq!(bad, []);
        assert_eq!(list.names().map(Name::as_str).collect::<Vec<_>>(), ["foo", "home.example.org"]);
        assert_eq!(list.ranges().count(), 1);
        assert_eq!(list.add("home.EXAMPLE.org"), Ok(false), "means the same");
        assert_eq!(list.add("work.example.org"), Ok(true));
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        assert!(!list.contains(address));
        list.hold([("home.example.org", Prefix::host(address))].into_iter());
        assert_eq!((list.contains(address), list.allowed_by(address)), (true, Some("home.example.org")));
        assert_eq!(list.names().count(), 3);
        assert_eq!(list.add("192.0.2.7"), Ok(true), "as long as it is held is not for ever");
    }

    #[test]
    fn finds_addresses() {
        let (list, bad) = AllowList::read(
            b"# office\n192.0.2.[6-23]  # desks\n\n  198.51.100.0/25\r\n2001:db8::/64\n198.51.100.128/25 # \xff\n",
        );
        assert_eq!(bad, []);
        assert_eq!(AllowList::of(list.entries()).as_ref(), Ok(&list));
        let allowed = |address: &str| list.contains(address.parse().unwrap());
        for address in
            ["192.0.2.6", "192.0.2.23", "::ffff:192.0.2.7", "198.51.100.255", "2001:db8::ffff:ffff:ffff:ffff"]
        {
            assert!(allowed(address), "{address}");
        }
        for address in ["192.0.2.5", "192.0.2.24", "0.0.0.0", "255.255.255.255", "2001:db8:0:1::", "::", "::c000:206"] {
            assert!(!allowed(address), "{address}");
        }
        assert_eq!(list.ranges().count(), 3, "the halves of 198.51.100.0/24 are one range");
        assert_eq!(list.allowed_by("192.0.2.7".parse().unwrap()), Some("192.0.2.[6-23]"));
        assert_eq!(list.allowed_by("192.0.2.1".parse().unwrap()), None);
    }

    #[test]
    fn names_every_bad_line() {
        let (list, bad) = AllowList::read(b"192.0.2.1\nexample.org.\n\n192.0.2.2 192.0.2.3\n192.0.2.4");
        assert_eq!(list.entries().collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.4"]);
        assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn adds_by_meaning() {
        let mut list = AllowList::default();
        assert_eq!(list.add("192.0.2.0/24"), Ok(true));
        assert_eq!(list.add("192.0.2.*"), Ok(false), "means the same");
        assert_eq!(list.add("192.0.2.7"), Ok(true), "an entry of its own, though inside the first");
        assert_eq!(list.entries().collect::<Vec<_>>(), ["192.0.2.0/24", "192.0.2.7"]);
        assert_eq!(list.ranges().count(), 1);
    }

    #[test]
    fn a_list_has_a_limit() {
        let mut list = AllowList::default();
        for first in 1..=4 {
            assert_eq!(list.add(&format!("{first}.*.*.1")), Ok(true));
        }
        let full = "allow entry `192.0.2.1`: the list would hold more than 262144 ranges; write wider prefixes";
        assert_eq!(list.add("192.0.2.1").unwrap_err().to_string(), full);
        let mut other = AllowList::default();
        assert_eq!(other.add("192.0.2.1"), Ok(true));
        assert_eq!(list.extend(&other).unwrap_err().to_string(), full);
        let names: Vec<_> = (0..=NAMES_MAX).map(|n| format!("h{n}")).collect();
        assert!(AllowList::of(names[1..].iter().map(String::as_str)).is_ok());
        let full = "allow entry `h256`: the list would hold more than 256 host names; write addresses or prefixes";
        assert_eq!(AllowList::of(names.iter().map(String::as_str)).unwrap_err().to_string(), full);
    }

    /// The merged ranges against a plain look at each entry.
    #[test]
    fn agrees_with_looking_at_every_entry() {
        kit::property("allow-list", 200, |random| {
            let mut list = AllowList::default();
            for _ in 0..random.below(12) {
                let (a, b) = (random.below(20), random.below(20));
                let entry = match random.below(3) {
                    0 => format!("192.0.{}.[{}-{}]", random.below(2), a.min(b), a.max(b)),
                    1 => format!("2001:db8::{:x}-2001:db8::{:x}", a.min(b), a.max(b)),
                    _ => format!("192.0.{}.{a}/{}", random.below(2), 27 + random.below(6)),
                };
                list.add(&entry).unwrap();
            }
            for low in 0..24_u8 {
                for address in [format!("192.0.0.{low}"), format!("192.0.1.{low}"), format!("2001:db8::{low:x}")] {
                    let address: IpAddr = address.parse().unwrap();
                    assert_eq!(list.contains(address), list.allowed_by(address).is_some(), "{address}");
                }
            }
            let ranges: Vec<Range> = list.ranges().collect();
            assert!(
                ranges.windows(2).all(|w| w[0].last < w[1].first && range::next(w[0].last) != Some(w[1].first)),
                "{ranges:?}"
            );
        });
    }
}
