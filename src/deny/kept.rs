//! What is denied already, for a start with a fresh database after the old one was lost.
//!
//! Nowhere else is a set read: what is decided makes the sets, not the other way round. Here it is read so that
//! losing the database lets nobody in.

use std::net::IpAddr;

use inputs::record::Timestamp;
use serde_json::Value;

use super::Until;
use crate::decide::prefix::Prefix;

/// The elements in the answer of `nft -j list set` (libnftables-json(5)): addresses of `bits`, prefixes and ranges.
pub(super) fn elements(listing: &[u8], bits: (u8, u8), now: Timestamp) -> Result<Vec<(Prefix, Until)>, String> {
    let listing: Value = serde_json::from_slice(listing).map_err(|error| error.to_string())?;
    let objects = listing["nftables"].as_array().into_iter().flatten();
    let elements = objects.filter_map(|object| object["set"]["elem"].as_array()).flatten();
    let mut kept = Vec::new();
    for element in elements {
        let timed = &element["elem"];
        let value = if timed.is_null() { element } else { &timed["val"] };
        let left = timed["expires"].as_u64();
        let until = left.map(|seconds| now.after(std::time::Duration::from_secs(seconds)));
        let prefixes = prefixes(value, bits).ok_or_else(|| format!("an element is unknown: {value:.80}"))?;
        kept.extend(prefixes.into_iter().map(|prefix| (prefix, until)));
    }
    Ok(kept)
}

fn prefixes(value: &Value, (v4, v6): (u8, u8)) -> Option<Vec<Prefix>> {
    let address = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some(host) = address(value) {
        return Some(vec![Prefix::of(host, if host.is_ipv4() { v4 } else { v6 })]);
    }
    if let Some(prefix) = value.get("prefix") {
        let bits = u8::try_from(prefix["len"].as_u64()?).ok()?;
        return Some(vec![Prefix::of(address(&prefix["addr"])?, bits)]);
    }
    let range = value.get("range")?.as_array()?;
    Some(cover(address(range.first()?)?, address(range.get(1)?)?))
}

/// The prefixes that cover the addresses from `first` to `last`, and no others.
fn cover(first: IpAddr, last: IpAddr) -> Vec<Prefix> {
    let most = if first.is_ipv4() { 32 } else { 128 };
    let mut covered = Vec::new();
    let mut next = Some(first);
    while let Some(at) = next.filter(|at| *at <= last && at.is_ipv4() == last.is_ipv4()) {
        let fits = |bits: &u8| {
            let prefix = Prefix::of(at, *bits);
            prefix.address() == at && prefix.last() <= last
        };
        let prefix = Prefix::of(at, (0..=most).find(fits).unwrap_or(most));
        next = match prefix.last() {
            IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| IpAddr::V4(next.into())),
            IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| IpAddr::V6(next.into())),
        };
        covered.push(prefix);
    }
    covered
}

/// The prefix that an entry of hosts.deny names: `sshd: 192.0.2.1`, `[2001:db8::]/64`, `192.0.2.0/255.255.255.0`.
pub(super) fn entry(entry: &str) -> Option<Prefix> {
    let pattern = entry.rsplit_once(": ").map_or(entry, |(_, pattern)| pattern).trim();
    let pattern = pattern.replace(['[', ']'], "");
    let Some((address, mask)) = pattern.split_once('/') else { return pattern.parse().ok() };
    match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => {
            Some(Prefix::of(address.parse::<IpAddr>().ok()?, u8::try_from(u32::from(mask).leading_ones()).ok()?))
        }
        Err(_) => pattern.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(elements_json: &str, want: &str) {
        let listing = format!(r#"{{"nftables": [{{"metainfo": {{}}}}, {{"set": {{"elem": [{elements_json}]}}}}]}}"#);
        let now = Timestamp::from_secs(1_000);
        let got = elements(listing.as_bytes(), (32, 64), now).unwrap();
        let show = |(prefix, until): &(Prefix, Until)| match until {
            Some(until) => format!("{prefix} +{}", until.secs() - 1_000),
            None => prefix.to_string(),
        };
        assert_eq!(got.iter().map(show).collect::<Vec<_>>().join(", "), want);
    }

    /// As nft 1.0.6 prints them.
    #[test]
    fn reads_what_nft_lists() {
        check(
            r#"{"elem": {"val": "192.0.2.1", "timeout": 600, "expires": 500}}, "192.0.2.2""#,
            "192.0.2.1 +500, 192.0.2.2",
        );
        check(r#""2001:db8:1::""#, "2001:db8:1::/64");
        check(
            r#"{"elem": {"val": {"prefix": {"addr": "10.0.0.0", "len": 8}}, "timeout": 60, "expires": 59}}"#,
            "10.0.0.0/8 +59",
        );
        check(r#"{"range": ["192.0.2.1", "192.0.2.7"]}"#, "192.0.2.1, 192.0.2.2/31, 192.0.2.4/30");
        check(r#"{"range": ["0.0.0.0", "255.255.255.255"]}"#, "0.0.0.0/0");
        assert!(elements(br#"{"nftables": [{"set": {"elem": [{"concat": []}]}}]}"#, (32, 64), Timestamp(0)).is_err());
    }

    #[test]
    fn reads_entries_of_hosts_deny() {
        let check = |text: &str, want: &str| {
            assert_eq!(entry(text).map_or("-".to_owned(), |prefix| prefix.to_string()), want, "{text}");
        };
        check("sshd: 192.0.2.1", "192.0.2.1");
        check("192.0.2.1", "192.0.2.1");
        check("sshd: 192.0.2.0/255.255.255.0", "192.0.2.0/24");
        check("sshd: [2001:db8::]/64", "2001:db8::/64");
        check("ALL: [2001:db8::5]", "2001:db8::5");
        check("ALL: PARANOID", "-");
    }
}
