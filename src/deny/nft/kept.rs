//! What nft lists of our sets, for a start with a fresh database after the old one was lost.
//!
//! Nowhere else is a set read: what is decided makes the sets, not the other way round. Here it is read so that
//! losing the database lets nobody in.

use std::net::IpAddr;

use inputs::record::Timestamp;
use serde_json::Value;

use super::plan::Lengths;
use crate::decide::prefix::Prefix;
use crate::decide::range::Range;
use crate::deny::Kept;

/// The elements in the answer of `nft -j list set` (libnftables-json(5)): addresses, which stand for prefixes of the usual
/// lengths, prefixes and ranges.
pub(super) fn elements(listing: &[u8], usual: Lengths, now: Timestamp) -> Result<Kept, String> {
    let listing: Value = serde_json::from_slice(listing).map_err(|error| error.to_string())?;
    let objects = listing["nftables"].as_array().into_iter().flatten();
    let elements = objects.filter_map(|object| object["set"]["elem"].as_array()).flatten();
    let mut kept = Vec::new();
    for element in elements {
        let timed = &element["elem"];
        let value = if timed.is_null() { element } else { &timed["val"] };
        let left = timed["expires"].as_u64();
        let until = left.map(|seconds| now.after(std::time::Duration::from_secs(seconds)));
        let prefixes = prefixes(value, usual).ok_or_else(|| format!("an element is unknown: {value:.80}"))?;
        kept.extend(prefixes.into_iter().map(|prefix| (prefix, Some(until))));
    }
    Ok(kept)
}

fn prefixes(value: &Value, usual: Lengths) -> Option<Vec<Prefix>> {
    let address = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some(host) = address(value) {
        return Some(vec![Prefix::of(host, if host.is_ipv4() { usual.v4 } else { usual.v6 })]);
    }
    if let Some(prefix) = value.get("prefix") {
        let bits = u8::try_from(prefix["len"].as_u64()?).ok()?;
        return Some(vec![Prefix::of(address(&prefix["addr"])?, bits)]);
    }
    let range = value.get("range")?.as_array()?;
    Some(Range::new(address(range.first()?)?, address(range.get(1)?)?)?.prefixes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deny::Until;

    fn check(elements_json: &str, want: &str) {
        let listing = format!(r#"{{"nftables": [{{"metainfo": {{}}}}, {{"set": {{"elem": [{elements_json}]}}}}]}}"#);
        let now = Timestamp::from_secs(1_000);
        let got = elements(listing.as_bytes(), Lengths::default(), now).unwrap();
        let show = |(prefix, until): &(Prefix, Option<Until>)| match until.unwrap() {
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
        assert!(
            elements(br#"{"nftables": [{"set": {"elem": [{"concat": []}]}}]}"#, Lengths::default(), Timestamp(0))
                .is_err()
        );
    }
}
