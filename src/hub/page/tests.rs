use super::*;
use crate::hub::statistics::Bar;

/// 2026-11-30 16:20:00 UTC.
const NOW: i64 = 1_796_055_600;

fn host(address: &str) -> Host {
    Host { address: address.to_owned(), first: NOW - 86_400, latest: NOW, reports: 1234, reporters: 5 }
}

fn series(step: Step, counts: &[u64]) -> Series {
    let bar =
        |(index, count): (usize, &u64)| Bar { start: NOW + index as i64 * 3600, reports: *count, new_hosts: count / 3 };
    Series { step, bars: counts.iter().enumerate().map(bar).collect() }
}

fn full() -> Statistics {
    Statistics {
        made: NOW,
        hosts: 1_234_567,
        contributors: 42,
        reports: 98_765_432,
        day: series(Step::Hour, &[3; 24]),
        month: series(Step::Day, &[7; 28]),
        history: series(Step::Month, &[u64::MAX; 120]),
        most: vec![host("192.0.2.1"); 10],
        recent: vec![host("2001:db8:1234:5678:9abc:def0:1234:5678"); 10],
    }
}

#[test]
fn the_page_says_what_the_figures_are() {
    let page = page(&full(), NOW);
    let want = [
        "<dt>hosts on the list</dt><dd>1\u{202f}234\u{202f}567</dd>",
        "<dt>reports in all</dt><dd>98\u{202f}765\u{202f}432</dd>",
        "<dt>reports in 24 hours</dt><dd>72</dd>",
        "<dt>new hosts in 24 hours</dt><dd>24</dd>",
        "<dt>contributors</dt><dd>42</dd>",
        "class=\"address\">192.0.2.1</th>",
        "<time datetime=\"2026-11-30T16:20Z\">2026-11-30 16:20</time>",
        "<time datetime=\"2026-11-29T16:20Z\">2026-11-29</time>",
        "data-name=\"reports\">1\u{202f}234</td>",
        "data-name=\"reporters\">5</td>",
        "Counted 2026-11-30 16:20:00.",
        "aria-label=\"The last 28 days, by the day: 196\u{a0}reports, 56\u{a0}new hosts. Most in the day of",
        concat!("denyd ", env!("CARGO_PKG_VERSION")),
    ];
    for want in want {
        assert!(page.contains(want), "{want} in {page}");
    }
    assert!(page.len() < 150_000, "{}", page.len());
}

/// The elements, without what stands in and between them: text changes none.
fn elements(page: &str) -> Vec<&str> {
    let tags = page.split('<').skip(1);
    tags.map(|tag| tag.split([' ', '>', '\n']).next().unwrap_or_default()).collect()
}

#[test]
fn no_text_of_the_database_is_markup() {
    let usual = page(&full(), NOW);
    let hostile = [
        "<script>document.title='owned'</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</table></main><style>*{display:none}</style>",
        "<!--",
        "]]><svg onload=alert(1)>",
        "&lt;script&gt;",
        "{}",
        "\0\u{202e}\u{1b}[2J",
    ];
    for hostile in hostile.iter().map(|text| (*text).to_owned()).chain([hostile.concat().repeat(60)]) {
        let mut statistics = full();
        for hosts in [&mut statistics.most, &mut statistics.recent] {
            hosts.iter_mut().for_each(|host| host.address.clone_from(&hostile));
        }
        let found = page(&statistics, NOW);
        assert_eq!(elements(&found), elements(&usual), "{hostile:?}");
        assert!(found.len() < usual.len() + 20 * 6 * ADDRESS_MAX, "{} bytes of {hostile:?}", found.len());
        assert!(!found.contains(['\0', '\u{202e}', '\u{1b}']), "{hostile:?}");
    }
}

#[test]
fn says_when_figures_are_missing_or_old() {
    let check = |made: i64, want: Option<&str>| {
        let page = page(&Statistics { made, ..full() }, NOW);
        let told =
            page.split_once("role=\"status\">").and_then(|(_, rest)| rest.split_once("</p>")).map(|(told, _)| told);
        assert_eq!(told, want);
    };
    check(NOW, None);
    check(NOW - 15 * 60, None);
    check(NOW - 16 * 60, Some("These figures are 16 minutes old."));
    // The clock went back.
    check(NOW + 9999, None);
    check(0, Some("Nothing was counted yet. Please come back in a minute."));
    let empty = page(&Statistics::default(), NOW);
    assert_eq!(empty.matches("No host was reported yet.").count(), 2);
}

#[test]
fn asks_for_nothing_and_runs_nothing() {
    let page = page(&full(), NOW);
    for word in ["<script", "<link", "<img", "<iframe", "<form", "@import", "url(", "src=", "href=", "style=\"", " on"]
    {
        let found: Vec<_> = page.match_indices(word).map(|(at, _)| &page[at..page.len().min(at + 60)]).collect();
        // Words of prose; no attribute.
        let found: Vec<_> =
            found.iter().filter(|text| word != " on" || text.find('=').is_some_and(|at| at < 15)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// The browser takes no style but the one whose hash the header names.
#[test]
fn the_policy_names_the_style() {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    let hash = crate::text::base64(suite.common.hash_provider.hash(STYLE.as_bytes()).as_ref());
    let (_, policy) = HEADERS.iter().find(|(name, _)| *name == "Content-Security-Policy").expect("a policy");
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "page.css is of the hash {hash}");
    let page = page(&full(), NOW);
    assert!(page.contains(&format!("<style>{STYLE}</style>")));
}

/// WCAG 2.1: letters 4.5 to 1 (1.4.3), bars 3 to 1 on the paper and on each other (1.4.11); light and dark.
#[test]
fn all_can_be_seen() {
    let (light, dark) = STYLE.split_once("@media (prefers-color-scheme: dark)").expect("two schemes");
    for (name, scheme) in [("light", light), ("dark", dark)] {
        let luminance = |name: &str| {
            let (_, rest) = scheme.split_once(&format!("--{name}: #")).expect("a colour");
            let channel = |at: usize| {
                let value = f64::from(u8::from_str_radix(&rest[at..at + 2], 16).expect("a channel")) / 255.0;
                if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
        };
        let check = |above: &str, below: &str, least: f64| {
            let (a, b) = (luminance(above), luminance(below));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= least, "{name}: {above} on {below} is {contrast:.2}");
        };
        for letters in ["ink", "soft", "link"] {
            check(letters, "paper", 4.5);
            check(letters, "tint", 4.5);
        }
        check("told", "paper", 3.0);
        check("new", "told", 3.0);
    }
}
