//! The names in a client's certificate, and which of them are permitted.
//!
//! Names are the DNS names of the subject's alternative names; only where it has none of those (and no URI) the common
//! name of its subject, as RFC 5425 has it. What comes out of a certificate is lower case and plain: it is shown and
//! logged.

use rustls::pki_types::CertificateDer;
use std::fmt;
use std::str::FromStr;
use webpki::EndEntityCert;

/// The longest name, in bytes.
const NAME_MAX: usize = 253;

/// The DER encoding of the object identifier of a common name, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// A name that a client's certificate may have: `web1.example.org`, or `*.example.org` for every name with one more
/// label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted(Box<str>);

/// It is no name that a certificate could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no host name, and no host name behind `*.`")]
pub struct BadName;

impl FromStr for Permitted {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        plain(text).filter(|name| name.as_str() != "*").map(|name| Permitted(name.into())).ok_or(BadName)
    }
}

impl fmt::Display for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Permitted {
    /// Whether a certificate of this name is meant. Certificates may have wildcards as well (RFC 5425, 5.2).
    fn covers(&self, name: &str) -> bool {
        *self.0 == *name || under(&self.0, name) || under(name, &self.0)
    }
}

/// Whether `name` is a label before what stands behind the `*.` of `pattern`.
fn under(pattern: &str, name: &str) -> bool {
    pattern.strip_prefix("*.").is_some_and(|behind| name.split_once('.').is_some_and(|(_, rest)| rest == behind))
}

/// The first name of a certificate that is permitted, which any is if the list is empty; otherwise all its names.
pub(super) fn permitted(certificate: &CertificateDer<'_>, permitted: &[Permitted]) -> Result<String, Vec<String>> {
    let names = names(certificate);
    let found = names.iter().find(|name| permitted.is_empty() || permitted.iter().any(|one| one.covers(name)));
    found.cloned().ok_or(names)
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let names: Vec<String> = certificate.valid_dns_names().filter_map(plain).collect();
    if !names.is_empty()
        || certificate.valid_dns_names().next().is_some()
        || certificate.valid_uri_names().next().is_some()
    {
        return names;
    }
    common_name(certificate.subject()).and_then(plain).into_iter().collect()
}

/// A name in lower case, if it is a host's: labels of letters, digits, `-` and `_`, the first of which may be `*`.
fn plain(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let behind = name.strip_prefix("*.").unwrap_or(name);
    (name.len() <= NAME_MAX && behind.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

/// The common name in a DER-encoded subject. With two of them it says nothing.
fn common_name(mut subject: &[u8]) -> Option<&str> {
    let mut found = None;
    while !subject.is_empty() {
        let (mut set, rest) = element(0x31, subject)?;
        subject = rest;
        while !set.is_empty() {
            let (attribute, rest) = element(0x30, set)?;
            set = rest;
            let (kind, value) = element(0x06, attribute)?;
            if kind == COMMON_NAME {
                let (text, end) = element(*value.first()?, value)?;
                if found.is_some() || !end.is_empty() {
                    return None;
                }
                found = Some(std::str::from_utf8(text).ok()?);
            }
        }
    }
    found
}

/// The contents of the DER element of type `tag` that `bytes` begin with, and what follows it. Lengths of up to two
/// bytes.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, body) = match *bytes {
        [first, len @ ..=0x7f, ref body @ ..] if first == tag => (usize::from(len), body),
        [first, 0x81, len, ref body @ ..] if first == tag => (usize::from(len), body),
        [first, 0x82, high, low, ref body @ ..] if first == tag => (usize::from(u16::from_be_bytes([high, low])), body),
        _ => return None,
    };
    body.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, string::Ia5String};

    /// A certificate with this subject and these alternative names.
    fn certificate(common: &[&str], alternative: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        for name in common {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = alternative;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(Ia5String::try_from(name).unwrap())
    }

    #[test]
    fn names_are_of_the_alternative_ones() {
        assert_eq!(
            names(&certificate(&["cn.example.org"], vec![dns("Web1.example.org"), dns("b")])),
            ["web1.example.org", "b"]
        );
        assert_eq!(names(&certificate(&["cn.example.org"], vec![dns("*.example.org")])), ["*.example.org"]);
        let uri = SanType::URI(Ia5String::try_from("https://example.org/").unwrap());
        assert_eq!(names(&certificate(&["cn.example.org"], vec![uri])), [""; 0]);
    }

    #[test]
    fn the_common_name_is_the_last_resort() {
        let address = SanType::IpAddress("192.0.2.1".parse().unwrap());
        assert_eq!(names(&certificate(&["CN.example.org"], vec![address])), ["cn.example.org"]);
        assert_eq!(names(&certificate(&["web1"], vec![])), ["web1"]);
        for odd in ["Web One", "", "web1\n.example.org", "a..b", "wéb", "web1\0.example.org", &"x".repeat(254)] {
            assert_eq!(names(&certificate(&[odd], vec![])), [""; 0], "{odd:?}");
        }
        assert_eq!(names(&certificate(&[], vec![])), [""; 0]);
        assert_eq!(names(&CertificateDer::from(vec![0x30, 0x82])), [""; 0]);
    }

    #[test]
    fn subjects_are_read_to_their_end() {
        let attribute = |text: &[u8]| {
            let value = [&[0x06, 3], COMMON_NAME, &[0x0c, text.len() as u8], text].concat();
            let sequence = [&[0x30, value.len() as u8], &value[..]].concat();
            [&[0x31, sequence.len() as u8], &sequence[..]].concat()
        };
        let one = attribute(b"web1");
        assert_eq!(common_name(&one), Some("web1"));
        assert_eq!(common_name(&[one.clone(), attribute(b"web2")].concat()), None);
        for cut in 0..one.len() {
            assert_eq!(common_name(&one[..cut]), None, "{cut}");
        }
        assert_eq!(common_name(&[0x31, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(common_name(&[0x31, 0x82, 0xff, 0xff]), None);
    }

    #[track_caller]
    fn check(permitted: &str, name: &str, expected: bool) {
        assert_eq!(permitted.parse::<Permitted>().unwrap().covers(name), expected, "{permitted} {name}");
    }

    #[test]
    fn permits_names() {
        check("web1.example.org", "web1.example.org", true);
        check("WEB1.example.org.", "web1.example.org", true);
        check("web1.example.org", "web10.example.org", false);
        check("web1.example.org", "example.org", false);
        check("*.example.org", "web1.example.org", true);
        check("*.example.org", "a.web1.example.org", false);
        check("*.example.org", "example.org", false);
        check("*.example.org", "webexample.org", false);
        check("*.example.org", "*.example.org", true);
        check("*.example.org", "*.web1.example.org", false);
        check("web1.example.org", "*.example.org", true);
        check("web1.example.org", "*.org", false);
        check("web1", "web1", true);
    }

    #[test]
    fn refuses_what_is_no_name() {
        for bad in
            ["", "*", "*.", ".", "a..b", "*.*.example.org", "web*.example.org", "a b", "web1:6514", "192.0.2.0/24", "é"]
        {
            assert_eq!(bad.parse::<Permitted>(), Err(BadName), "{bad}");
        }
    }
}
