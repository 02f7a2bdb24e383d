//! What is said to `pfctl`, with a program in its place that keeps tables in files: no BSD is here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::deny::ledger::tests::Memory;
use crate::deny::program;

const NOW: Timestamp = Timestamp::from_secs(100);

/// Keeps a table in `table`, the rules of the anchor in `anchor`, and what it is told in `said`; what it fails with is in
/// `fails`. What pfctl says is as in its sources of FreeBSD 14: entries behind blanks, and networks with their lengths.
const PFCTL: &str = r#"#!/bin/sh
cd "${0%/*}"
echo "pfctl $*" >>said
[ -e fails ] && { cat fails >&2; exit 1; }
while [ $# -gt 0 ]; do
  case $1 in
    -q | -v) ;;
    -a) anchor=$2; shift ;;
    -T) verb=$2; shift ;;
    -s) list=$2; shift ;;
    -F) flush=$2; shift ;;
    -f) file=1; shift ;;
    -t | -k) shift ;;
  esac
  shift
done
[ "$file" ] && { cat >input; sed 's/^/  /' input >>said; }
case $list in
  info) cat info ;;
  Tables) cat tables ;;
  rules) if [ "$anchor" ]; then cat anchor; else cat rules; fi ;;
esac
case $flush in
  rules) : >anchor ;;
  Tables) rm -f table ;;
esac
[ "$verb" ] && [ ! -e table ] && { echo "pfctl: Table does not exist." >&2; exit 255; }
case $verb in
  show) sed 's/^/   /' table ;;
  replace) cp input table ;;
  add) cat input >>table ;;
  delete) grep -vxFf input table >rest; mv rest table ;;
  "") [ "$file" ] && { grep -v ^table input >anchor; touch table; } ;;
esac
exit 0
"#;

/// A BSD.
struct Bsd {
    dir: tempfile::TempDir,
    notes: Memory,
    settings: Settings,
}

impl Bsd {
    /// With our anchor, or with a table `bad` of an administrator's.
    fn new(own: bool) -> Bsd {
        let settings = if own { Settings::default() } else { Settings { anchor: None, table: "bad".parse().unwrap() } };
        let bsd = Bsd { dir: tempfile::tempdir().unwrap(), notes: Memory::default(), settings };
        bsd.put("pfctl", PFCTL);
        fs::set_permissions(bsd.path("pfctl"), fs::Permissions::from_mode(0o755)).unwrap();
        bsd.put("info", "Status: Enabled for 0 days 00:17:05              Debug: Urgent\n");
        bsd.put("rules", "scrub in all\nanchor \"denyd\" all\npass in all flags S/SA keep state\n");
        bsd.put("tables", "-pa-r--\tbad\n");
        if !own {
            bsd.put("table", "");
        }
        bsd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn pf(&self) -> Pf {
        let ledger = Ledger::open(&self.settings.place(), Box::new(self.notes.clone()), None).unwrap();
        Pf::new(self.settings.clone(), ledger).with_binary(self.path("pfctl"))
    }

    /// What is in the table.
    fn table(&self) -> String {
        let text = fs::read_to_string(self.path("table")).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.join(" ")
    }

    /// What was said since this was asked last.
    fn said(&self) -> String {
        let said = fs::read_to_string(self.path("said")).unwrap();
        self.put("said", "");
        said
    }
}

fn diff(want: &DenySet, prefixes: &str) -> Diff {
    let denies = prefixes.split_whitespace().map(|text| text.parse().unwrap());
    Diff { denies: denies.map(|prefix| (prefix, want.denied.get(&prefix).copied())).collect(), ..Diff::default() }
}

#[test]
fn what_is_said_in_our_own_anchor() {
    let bsd = Bsd::new(true);
    let mut pf = bsd.pf();
    let want =
        DenySet::sample("192.0.2.0/24@- 198.51.100.1@160 198.51.100.2@100 2001:db8::/64@-", "192.0.2.7 203.0.113.1");
    pf.replace(&want, NOW).unwrap();
    assert_eq!(
        bsd.said(),
        "pfctl -s info\npfctl -s rules\npfctl -q -a denyd -f -\n  table <denyd> persist\n  \
         block drop in quick on ! lo0 inet from <denyd> to any\n  \
         block drop in quick on ! lo0 inet6 proto { tcp, udp } from <denyd> to any\npfctl -q -a denyd -s rules\n\
         pfctl -q -a denyd -t denyd -T show\npfctl -q -a denyd -t denyd -T replace -f -\n  192.0.2.0/24\n  !192.0.2.7\n  \
         198.51.100.1\n  2001:db8::/64\npfctl -q -a denyd -t denyd -T show\n"
    );
    assert_eq!(pf.probe(&want, NOW).unwrap(), Probe::Ours);
    bsd.said();
    let want = DenySet::sample("192.0.2.0/24@- 198.51.100.3@160 2001:db8::/64@-", "192.0.2.7 203.0.113.1");
    pf.update(&diff(&want, "198.51.100.1 198.51.100.3"), &want, NOW).unwrap();
    assert_eq!(
        bsd.said(),
        "pfctl -q -a denyd -t denyd -T delete -f -\n  198.51.100.1\npfctl -q -a denyd -t denyd -T add -f -\n  198.51.100.3\n"
    );
    assert_eq!(pf.kept(NOW).unwrap().len(), 3);
    assert_eq!(pf.allowed(NOW).unwrap(), ["192.0.2.7".parse().unwrap()]);
    bsd.said();
    pf.take_away(NOW).unwrap();
    assert_eq!(bsd.said(), "pfctl -q -a denyd -F rules\npfctl -q -a denyd -F Tables\n");
    assert_eq!(pf.kept(NOW).unwrap(), []);
}

#[test]
fn rules_of_our_anchor() {
    let check = |ports: Option<Vec<u16>>, action: Action, want: &[&str]| {
        let rules = Settings::default().anchored(&Effect { ports, action, ..Effect::default() });
        assert_eq!(rules.lines().skip(1).collect::<Vec<_>>(), want);
        assert!(!rules.contains("pass"));
    };
    check(
        None,
        Action::Reject,
        &[
            "block return in quick on ! lo0 inet from <denyd> to any",
            "block return in quick on ! lo0 inet6 proto { tcp, udp } from <denyd> to any",
        ],
    );
    check(
        Some(vec![22, 2222]),
        Action::Drop,
        &["block drop in quick on ! lo0 proto tcp from <denyd> to any port { 22, 2222 }"],
    );
}

/// What is wanted in the table, address by address: the narrowest entry decides.
#[test]
fn allowed_wins_inside_a_wider_deny() {
    let check = |denied: &str, allowed: &str, table: &str| {
        let want = DenySet::sample(denied, allowed);
        let entries: Vec<_> = Wanted::new(&want, NOW).all().iter().map(Entry::to_string).collect();
        assert_eq!(entries.join(" "), table, "{denied}; {allowed}");
    };
    check("192.0.2.1@- 192.0.2.2@100", "192.0.2.3", "192.0.2.1");
    check("192.0.2.1@-", "192.0.2.1", "");
    check("192.0.2.1@-", "192.0.2.0-192.0.2.255", "");
    check("192.0.2.0/24@- 192.0.2.4@-", "192.0.2.4-192.0.2.7", "192.0.2.0/24 !192.0.2.4/30");
    check("192.0.2.0/24@100", "192.0.2.4", "");
    check("192.0.2.0/24@-", "192.0.2.3-192.0.2.4 2001:db8::1", "192.0.2.0/24 !192.0.2.3 !192.0.2.4");
    check("0.0.0.0/0@- ::/0@-", "2001:db8::5 192.0.2.1", "::/0 0.0.0.0/0 !192.0.2.1 !2001:db8::5");
}

/// After any updates the table holds what a `replace` would have written.
#[test]
fn updates_lead_where_replace_does() {
    kit::property("pf", 12, |random| {
        let bsd = Bsd::new(random.below(2) == 0);
        let mut pf = bsd.pf();
        let mut want = DenySet::default();
        pf.replace(&want, NOW).unwrap();
        for _ in 0..4 {
            let mut diff = Diff::default();
            for _ in 0..1 + random.below(4) {
                let prefix = Prefix::of(
                    std::net::Ipv4Addr::from(0xc000_0200 + random.below(8) as u32),
                    28 + random.below(5) as u8,
                );
                let until = (random.below(4) > 0).then_some(Some(NOW.after(Duration::from_secs(random.below(2) * 60))));
                diff.denies.insert(prefix, until);
            }
            if random.below(3) == 0 {
                let allowed = ["192.0.2.4", "192.0.2.0-192.0.2.3 192.0.2.6"][random.below(2) as usize];
                diff.allowed = Some(DenySet::sample("", allowed).allowed);
            }
            want.apply(&diff);
            pf.update(&diff, &want, NOW).unwrap();
            let entries: Vec<_> = Wanted::new(&want, NOW).all().iter().map(Entry::to_string).collect();
            let mut entries: Vec<&str> = entries.iter().map(String::as_str).collect();
            entries.sort_unstable();
            assert_eq!(bsd.table(), entries.join(" "));
            assert_eq!(pf.probe(&want, NOW).unwrap(), Probe::Ours);
        }
    });
}

/// What others have in their own table stays as it is, also where it is what we want; what is ours goes with us.
#[test]
fn an_administrators_table_keeps_what_is_not_ours() {
    let bsd = Bsd::new(false);
    bsd.put("table", "10.0.0.0/8\n192.0.2.2\n!192.0.2.9\n");
    let want = DenySet::sample("192.0.2.1@- 192.0.2.2@- 192.0.2.9@-", "");
    let mut pf = bsd.pf();
    pf.replace(&want, NOW).unwrap();
    assert_eq!(bsd.table(), "!192.0.2.9 10.0.0.0/8 192.0.2.1 192.0.2.2");
    assert_eq!(
        bsd.said(),
        "pfctl -s info\npfctl -v -s Tables\npfctl -q -t bad -T show\npfctl -q -t bad -T add -f -\n  192.0.2.1\n\
         pfctl -q -t bad -T show\n"
    );
    // it outlasts a restart which is ours
    let mut pf = bsd.pf();
    pf.replace(&DenySet::sample("192.0.2.3@-", ""), NOW).unwrap();
    assert_eq!(bsd.table(), "!192.0.2.9 10.0.0.0/8 192.0.2.2 192.0.2.3");
    assert_eq!(pf.kept(NOW).unwrap(), [], "nobody can tell what was ours");
    pf.update(&diff(&DenySet::default(), "192.0.2.3 192.0.2.2"), &DenySet::default(), NOW).unwrap();
    assert_eq!(bsd.table(), "!192.0.2.9 10.0.0.0/8 192.0.2.2");
    pf.replace(&want, NOW).unwrap();
    bsd.pf().take_away(NOW).unwrap();
    assert_eq!(bsd.table(), "!192.0.2.9 10.0.0.0/8 192.0.2.2");
    let notes = bsd.notes.0.lock().unwrap().clone();
    assert_eq!(notes["written pf table bad"], "{}");
}

#[test]
fn what_others_do_is_seen_and_mended() {
    let bsd = Bsd::new(true);
    let mut pf = bsd.pf();
    let want = DenySet::sample("192.0.2.0/24@- 192.0.3.1@-", "192.0.2.7");
    pf.replace(&want, NOW).unwrap();
    bsd.put("table", "192.0.2.0/24\n10.0.0.1\n");
    let what = "table denyd: 2 entries are gone, 1 are not ours".to_owned();
    assert_eq!(pf.probe(&want, NOW).unwrap(), Probe::Changed { what, missing: 1 });
    pf.mend(&want, NOW).unwrap();
    assert_eq!(bsd.table(), "!192.0.2.7 192.0.2.0/24 192.0.3.1");
    assert_eq!(pf.probe(&want, NOW).unwrap(), Probe::Ours);
    bsd.put("anchor", "pass quick all\n");
    assert_eq!(pf.probe(&want, NOW).unwrap_err().cause, "its rules are others");
    pf.replace(&want, NOW).unwrap();
    assert_eq!(pf.probe(&want, NOW).unwrap(), Probe::Ours);
    // a program that says it is done
    bsd.put("pfctl", &PFCTL.replace("replace) cp input table", "replace) :"));
    bsd.put("table", "");
    assert_eq!(pf.replace(&want, NOW).unwrap_err().cause, "192.0.2.0/24 is not there");
}

/// States go with the deny, but for those of who is allowed or logged in.
#[test]
fn states_are_killed_where_connections_are_cut() {
    let bsd = Bsd::new(true);
    let mut pf = bsd.pf().cutting(true);
    let kills = |bsd: &Bsd| {
        let said = bsd.said();
        said.lines().filter_map(|line| line.strip_prefix("pfctl -q -k ").map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut want = DenySet::sample("192.0.2.0/30@- 198.51.100.1@- 198.51.100.2@-", "192.0.2.1");
    want.kept = [("198.51.100.2".parse().unwrap(), 41)].into();
    pf.replace(&want, NOW).unwrap();
    assert_eq!(kills(&bsd), ["192.0.2.0", "192.0.2.2/31", "198.51.100.1"]);
    want.denied.insert("2001:db8::/64".parse().unwrap(), None);
    pf.update(&diff(&want, "198.51.100.1 2001:db8::/64"), &want, NOW).unwrap();
    assert_eq!(kills(&bsd), ["2001:db8::/64"], "once");
    pf.replace(&want, NOW).unwrap();
    assert_eq!(kills(&bsd), [""; 0]);
}

/// What pfctl says where it cannot, and what is to be done about it.
#[test]
fn says_what_to_do() {
    let check = |own: bool, file: &str, text: &str, cause: &str, remedy: &str| {
        let bsd = Bsd::new(own);
        bsd.put(file, text);
        let error = bsd.pf().replace(&DenySet::sample("192.0.2.1@-", ""), NOW).unwrap_err();
        assert_eq!(error.cause, cause);
        assert!(error.remedy.unwrap().contains(remedy), "{error}");
    };
    check(true, "info", "Status: Disabled for 0 days 00:00:09\n", "pf is not enabled", "pfctl -e");
    check(
        true,
        "rules",
        "block all\n",
        "no rule leads all that comes in to anchor \"denyd\"",
        "before all rules that pass anybody",
    );
    check(
        true,
        "rules",
        "anchor \"denyd2\" all\n",
        "no rule leads all that comes in to anchor \"denyd\"",
        "pfctl -f /etc/pf.conf",
    );
    for narrow in ["out all", "on em1 all", "in on em1 all", "inet all", "in proto tcp all"] {
        let none = "no rule leads all that comes in to anchor \"denyd\"";
        check(true, "rules", &format!("anchor \"denyd\" {narrow}\n"), none, "nothing behind it");
    }
    for pass in [
        "pass in quick proto tcp from any to any port = ssh flags S/SA keep state",
        "pass quick all flags S/SA keep state",
        "pass in quick on em1 inet from ! <bad> to any flags S/SA keep state",
    ] {
        let cause = format!("before anchor \"denyd\" a rule lets anybody in: {pass}");
        check(true, "rules", &format!("{pass}\nanchor \"denyd\" all\n"), &cause, "before all rules that pass anybody");
    }
    check(false, "tables", "-pa----\tbad\n", "no rule names table bad", "block in quick from");
    check(false, "tables", "-pa-r--\tbad2\n-pa-r--\tbad\tother\n", "there is no table bad", "persist");
    let fails = |cause: &str, remedy: &str| check(true, "fails", &format!("{cause}\n"), cause, remedy);
    fails("pfctl: /dev/pf: Permission denied", "run denyd as root");
    fails("pfctl: /dev/pf: No such file or directory", "kldload pf");
    fails("pfctl: Cannot allocate memory.", "table-entries");
    if program::find("pfctl").is_none() {
        let error = Settings::default().usable().unwrap_err();
        assert!(error.to_string().contains("no pfctl in /usr/sbin") && error.remedy.unwrap().contains("FreeBSD"));
    }
}

/// Rules with which all that comes in is held against the anchor.
#[test]
fn finds_the_anchor() {
    for rules in [
        "anchor \"denyd\" all\npass in quick all\n",
        "anchor \"denyd\" in all\n",
        "anchor \"*\" all\n",
        "pass in quick inet proto udp from 192.0.2.9 to any port = syslog\npass in quick proto ipv6-icmp all\nanchor \"denyd\" in all\n",
        "pass out quick all flags S/SA keep state\nanchor \"denyd\" all\n",
        "pass quick on lo0 all flags S/SA keep state\nblock drop in quick from <other> to any\nanchor \"denyd\" all\n",
    ] {
        let bsd = Bsd::new(true);
        bsd.put("rules", rules);
        bsd.pf().replace(&DenySet::sample("192.0.2.1@-", ""), NOW).unwrap();
    }
}

#[test]
fn names_and_places() {
    for bad in ["", "a b", "1a", "-a", "a/b", "ä", "a>", &"a".repeat(32)] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
    for settings in [Settings::default(), Settings { anchor: None, table: "bad".parse().unwrap() }] {
        let place = settings.place();
        assert_eq!(Settings::of_place(place.strip_prefix("pf ").unwrap()), Some(settings));
    }
    assert_eq!(Settings::of_place("anchor x table"), None);
    assert_eq!("! 192.0.2.1".parse::<Entry>().unwrap().to_string(), "!192.0.2.1");
    assert!("example.org".parse::<Entry>().is_err());
}
