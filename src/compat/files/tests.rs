use super::*;

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").expect("a zone")
}

/// What is read of the lines of a file of counts, and what it becomes when it is written again; bad lines by number.
fn check<K: Key>(text: &[u8], shown: impl Fn(&K) -> String, want: &str, again: &str) {
    let zone = berlin();
    let found = counts::<K>(text, &zone);
    let records = found.records.iter().map(|(key, Count { count, at })| {
        let at = at.map_or("-".to_owned(), |at| at.to_string());
        format!("{} {count} {at}", shown(key))
    });
    let bad = found.bad.iter().map(|bad| format!("{}: {}", bad.line, bad.why));
    let told = String::from_utf8_lossy(text);
    assert_eq!(records.chain(bad).collect::<Vec<_>>().join("|"), want, "{told:?}");
    let now = Timestamp::from_secs(1_800_000_000);
    let written = write_counts(found.records, now, &zone);
    assert_eq!(String::from_utf8_lossy(&written), again, "{told:?}");
    let back = counts::<K>(&written, &zone);
    assert_eq!((write_counts(back.records, now, &zone), back.bad), (written, vec![]), "{told:?}");
}

const TIME: &str = "Sat Nov 21 23:38:26 2026";

#[test]
fn counts_by_address() {
    let check = |text: &str, want: &str, again: &str| {
        check::<IpAddr>(text.replace('@', TIME).as_bytes(), ToString::to_string, want, &again.replace('@', TIME));
    };
    check("", "", "");
    check("\n \r\n", "", "");
    check("192.0.2.5:3:@\n", "192.0.2.5 3 2026-11-21T22:38:26Z", "192.0.2.5:3:@\n");
    check("192.0.2.5:0:@", "192.0.2.5 0 2026-11-21T22:38:26Z", "192.0.2.5:0:@\n");
    check(
        "  192.0.2.5 : 3 : Sat Nov  1 09:05:00 2025 \r\n",
        "192.0.2.5 3 2025-11-01T08:05:00Z",
        "192.0.2.5:3:Sat Nov  1 09:05:00 2025\n",
    );
    // By the text of the key, as DenyHosts.
    let both = "192.0.2.9 1 2026-11-21T22:38:26Z|192.0.2.10 2 2026-11-21T22:38:26Z";
    check("192.0.2.9:1:@\n192.0.2.10:2:@\n", both, "192.0.2.10:2:@\n192.0.2.9:1:@\n");
    // The last one of a key holds.
    check("192.0.2.9:1:@\n192.0.2.9:4:@\n", "192.0.2.9 4 2026-11-21T22:38:26Z", "192.0.2.9:4:@\n");
    // Before 1.1 there was no time.
    check(
        "192.0.2.5:3\n192.0.2.6:4:\n",
        "192.0.2.5 3 -|192.0.2.6 4 -",
        "192.0.2.5:3:Fri Jan 15 09:00:00 2027\n192.0.2.6:4:Fri Jan 15 09:00:00 2027\n",
    );
    // DenyHosts wrote these, and could not read them.
    let six = "2001:db8::1 3 2026-11-21T22:38:26Z";
    check("2001:db8::1:3:@\n", six, "2001%3Adb8%3A%3A1:3:@\n");
    check("2001%3Adb8%3A%3A1:3:@\n", six, "2001%3Adb8%3A%3A1:3:@\n");
    check("::ffff:192.0.2.5:3:@\n", "192.0.2.5 3 2026-11-21T22:38:26Z", "192.0.2.5:3:@\n");
    // Nothing is guessed.
    check("all:3:@\nmail.example.org:3:@", "1: no address|2: no address", "");
    check(
        "192.0.2.5\n192.0.2.5:x:@\n192.0.2.5:-1:@\n192.0.2.5:3:today",
        "1: no `:` before a count|2: no count and time behind the first field|3: no count and time behind the first field|4: no count and time behind the first field",
        "",
    );
    check("192.0.2.5:99999999999999999999:@", "1: no count and time behind the first field", "");
    check(&format!("{}:1:@", "1".repeat(5000)), "1: longer than any record", "");
}

#[test]
fn counts_by_user() {
    let check = |text: &[u8], want: &str, again: &str| {
        let text = [text, b":2:", TIME.as_bytes(), b"\n"].concat();
        let want = format!("{want} 2 2026-11-21T22:38:26Z");
        check::<User>(&text, |user| format!("<{}>", user.escape_ascii()), &want, &format!("{again}:2:{TIME}\n"));
    };
    check(b"bob", "<bob>", "bob");
    check(b"", "<>", "");
    check(b"a:b", "<a:b>", "a%3Ab");
    check(b"a%3Ab", "<a:b>", "a%3Ab");
    // Neither is what we write.
    check(b"100%", "<100%>", "100%25");
    check(b"%41%3a%4", "<%41%3a%4>", "%2541%253a%254");
    check("j\u{f6}rg".as_bytes(), "<j\\xc3\\xb6rg>", "j%C3%B6rg");
    check(b"\xff\x1b[2J", "<\\xff\\x1b[2J>", "%FF%1B[2J");
    check(b"two words", "<two words>", "two words");
    check(b"%20x%0A%20", "< x\\n >", "%20x%0A%20");
    // A name that looks like a record.
    check(b"a:3:Sat Nov 21 23:38:26 2026", "<a:3:Sat Nov 21 23:38:26 2026>", "a%3A3%3ASat Nov 21 23%3A38%3A26 2026");
}

#[test]
fn counts_by_user_and_address() {
    let check = |text: &str, want: &str, again: &str| {
        let line = |key: &str| format!("{key}:2:{TIME}\n");
        let want = match want.starts_with('<') {
            true => format!("{want} 2 2026-11-21T22:38:26Z"),
            false => want.to_owned(),
        };
        let again = if again.is_empty() { String::new() } else { line(again) };
        let shown = |pair: &Pair| format!("<{}> {}", pair.user.escape_ascii(), pair.address);
        check::<Pair>(line(text).as_bytes(), shown, &want, &again);
    };
    check("bob - 192.0.2.5", "<bob> 192.0.2.5", "bob - 192.0.2.5");
    check(" - 192.0.2.5", "<> 192.0.2.5", " - 192.0.2.5");
    check("- - 192.0.2.5", "<-> 192.0.2.5", "- - 192.0.2.5");
    check("a - b - 192.0.2.5", "<a - b> 192.0.2.5", "a - b - 192.0.2.5");
    check("a:b - 2001:db8::1", "<a:b> 2001:db8::1", "a%3Ab - 2001%3Adb8%3A%3A1");
    check("a -  - 192.0.2.5", "<a - > 192.0.2.5", "a -%20 - 192.0.2.5");
    check("bob", "1: no ` - ` between a user and an address", "");
    check("bob - host.example.org", "1: no address", "");
}

#[test]
fn whatever_a_name_holds_comes_back() {
    let names = (0u8..=255).flat_map(|a| [b' ', b'%', b':', b'3', b'A', b'-', b'\n', a].map(|b| vec![a, b, a]));
    for name in names.chain([vec![], b"%3A".to_vec(), b" - ".to_vec()]) {
        let user: User = name.clone().into();
        assert_eq!(decoded(user.write().as_bytes()), name, "{name:?}");
        let pair = Pair { user, address: IpAddr::from([192, 0, 2, 5]) };
        let count = Count { count: 1, at: Some(Timestamp::from_secs(1_800_000_000)) };
        let text = write_counts([(pair.clone(), count)], Timestamp(0), &berlin());
        let found = counts::<Pair>(&text, &berlin());
        assert_eq!((found.records, found.bad), (BTreeMap::from([(pair, count)]), vec![]), "{name:?}");
    }
}

#[test]
fn bad_lines_are_kept_as_they_are() {
    let found = hosts(b"192.0.2.1\n  \xff\r\n# x\n192.0.2.1\n2001:db8::1\n");
    assert_eq!(found.records, BTreeSet::from(["192.0.2.1", "2001:db8::1"].map(|one| one.parse().expect("an address"))));
    let bad = |line, text: &[u8]| Bad { line, text: text.into(), why: "no address" };
    assert_eq!(found.bad, [bad(2, b"  \xff\r"), bad(3, b"# x")]);
    assert_eq!(write_hosts(found.records), b"192.0.2.1\n2001%3Adb8%3A%3A1\n");
}

#[test]
fn what_the_server_told() {
    let zone = berlin();
    let text = "192.0.2.1:Tue Nov 14 23:13:20 2023\n2001%3Adb8%3A%3A1:Tue Nov 14 23:13:21 2023\n";
    let found = received(format!("{text}192.0.2.2\nx:Tue Nov 14 23:13:20 2023\n").as_bytes(), &zone);
    assert_eq!(found.records.values().map(|at| at.secs()).collect::<Vec<_>>(), [1_700_000_000, 1_700_000_001]);
    assert_eq!(
        found.bad.iter().map(|bad| (bad.line, bad.why)).collect::<Vec<_>>(),
        [(3, "no time behind an address"), (4, "no address")]
    );
    assert_eq!(String::from_utf8_lossy(&write_received(found.records, &zone)), text);
    assert_eq!(
        (timestamp(b"1700000000"), timestamp(b" 1700000000\n"), timestamp(b""), timestamp(b"-1")),
        (Some(1_700_000_000), Some(1_700_000_000), None, None)
    );
}

#[test]
fn how_far_the_log_was_read() {
    let check = |text: &[u8], want: Option<(&[u8], u64)>| {
        let found = offset(text);
        assert_eq!(found.as_ref().map(|found| (&*found.first_line, found.bytes)), want);
        if let Some(found) = found {
            assert_eq!(offset(&write_offset(&found)), Some(found));
        }
    };
    check(b"Mar  9 07:39:48 b sshd[1]: x\n70\n", Some((b"Mar  9 07:39:48 b sshd[1]: x", 70)));
    check(b"x\xff\n7", Some((b"x\xff", 7)));
    check(b"\n0\n", Some((b"", 0)));
    [&b""[..], b"x", b"x\n", b"x\ny\n", b"x\n-1\n"].iter().for_each(|text| check(text, None));
}

#[test]
fn words_of_people() {
    let text = b"# who\n\n 192.0.2.1 \r\n1.1.1.[6-23]\nfoo # bar\n";
    assert_eq!(words(text).collect::<Vec<_>>(), [&b"192.0.2.1"[..], b"1.1.1.[6-23]", b"foo # bar"]);
    let (text, left_out) = write_words([&b"mysql"[..], b"#x", b"", b" a", b"a\nb", b"a b"]);
    assert_eq!((text, left_out), (b"mysql\na b\n".to_vec(), vec![&b"#x"[..], b"", b" a", b"a\nb"]));
}

#[test]
fn only_files_of_a_sane_size_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    assert_eq!(load(path, HOSTS).expect("none"), None);
    std::fs::write(path.join(HOSTS), "x").expect("written");
    assert_eq!(load(path, HOSTS).expect("one"), Some(b"x".to_vec()));
    std::fs::create_dir(path.join(OFFSET)).expect("made");
    assert!(load(path, OFFSET).is_err());
    nix::unistd::mkfifo(&path.join(SYNC_HOSTS), nix::sys::stat::Mode::S_IRWXU).expect("made");
    assert!(load(path, SYNC_HOSTS).is_err(), "nobody waits for who writes it");
    let large = std::fs::File::create(path.join(HOSTS_ROOT)).expect("made");
    large.set_len(FILE_MAX + 1).expect("sparse");
    assert!(load(path, HOSTS_ROOT).is_err());
}
