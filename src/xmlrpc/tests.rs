use super::*;

/// The body of an HTTP message that Python's own XML-RPC wrote (`tests/data/sync/record.py`).
macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../tests/data/sync/", $name)).split_once("\r\n\r\n").expect("head and body").1
    };
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn asked(since: u64, threshold: u32, added: &[&str], resiliency: u64) -> Call {
    Call::GetNewHosts { since, threshold, added: owned(added), resiliency }
}

#[test]
fn calls_are_as_python_writes_them() {
    let check = |body: &str, want: Call| {
        assert_eq!(Call::from_xml(body), Ok(want.clone()));
        assert_eq!(want.to_xml(), body);
    };
    check(recorded!("add_hosts.request"), Call::AddHosts(owned(&["192.0.2.6", "2001:db8::6"])));
    check(recorded!("add_hosts-fault.request"), Call::AddHosts(owned(&["192.0.2.6", "bad<host"])));
    check(recorded!("get_new_hosts.request"), asked(0, 3, &["192.0.2.6"], 18_000));
    check(recorded!("get_new_hosts-none.request"), asked(1, 3, &[], 18_000));
    check(recorded!("version_report.request"), Call::VersionReport(owned(&["3.11.7", "3.1.1"])));
}

#[test]
fn answers_are_as_python_writes_them() {
    let check = |body: &str, want: Answer| {
        assert_eq!(Answer::from_xml(body), Ok(want.clone()));
        assert_eq!(want.to_xml(), body);
    };
    let hosts = |hosts: &[&str]| Answer::NewHosts { timestamp: 1_700_000_000, hosts: owned(hosts) };
    let fault = |code, text: &str| Answer::Fault { code, text: text.to_owned() };
    check(recorded!("add_hosts.answer"), Answer::Done);
    check(recorded!("get_new_hosts.answer"), hosts(&["192.0.2.7", "2001:db8::7"]));
    check(recorded!("get_new_hosts-none.answer"), hosts(&[]));
    check(recorded!("add_hosts-fault.answer"), fault(101, "Illegal IP address \"bad<host\"."));
    check(recorded!("version_report.answer"), fault(8001, "procedure version_report not found"));
}

fn call(parameters: &str) -> Result<Call, Error> {
    Call::from_xml(&format!("<methodCall><methodName>get_new_hosts</methodName>{parameters}</methodCall>"))
}

fn parameters(values: &[&str]) -> String {
    let each: String = values.iter().map(|value| format!("<param><value>{value}</value></param>")).collect();
    format!("<params>{each}</params>")
}

#[test]
fn calls_are_read_tolerantly() {
    const NONE: &str = "<array><data/></array>";
    let check = |values: &[&str], want: Call| assert_eq!(call(&parameters(values)), Ok(want), "{values:?}");
    check(&["<string>1700000000</string>", "<i4>3</i4>", NONE, "<i8>0</i8>"], asked(1_700_000_000, 3, &[], 0));
    check(&["1700000000", " 3\n", NONE, "<double>18000.0</double>"], asked(1_700_000_000, 3, &[], 18_000));
    check(&["<int>-5</int>", "<int>-1</int>", "<nil/>", "<int>+7</int>"], asked(0, 0, &[], 7));
    check(&["<int>99999999999999999999</int>", "<int>4294967296</int>", "", "0"], asked(u64::MAX, u32::MAX, &[], 0));
    let mixed =
        "<array> <data>\n<value>a</value><!-- no --><value><string/></value><value><int>5</int></value></data></array>";
    check(&["0", "1", mixed, "0"], asked(0, 1, &["a", "", "5"], 0));
    check(
        &["0", "1", "<array><data><value>&lt;&#65;&#x42;<![CDATA[<c>]]></value></data></array>", "0"],
        asked(0, 1, &["<AB<c>"], 0),
    );
    // Methods without parameters, with and without the element for them.
    for rest in ["", "<params/>", "<params></params>", "<params>\n</params>\n"] {
        let body = format!("<?xml version=\"1.0\"?><methodCall><methodName> list </methodName>{rest}</methodCall>\n");
        assert_eq!(Call::from_xml(&body), Ok(Call::Other("list".into())), "{rest:?}");
    }
}

#[test]
fn parameters_that_are_none_are_told_from_what_is_no_xml() {
    let illegal = |values: &[&str]| {
        assert_eq!(call(&parameters(values)), Err(Error::Parameters("get_new_hosts")), "{values:?}");
    };
    const NONE: &str = "<array><data/></array>";
    illegal(&["x", "3", NONE, "0"]);
    illegal(&["inf", "3", NONE, "0"]);
    illegal(&["0", "3", "192.0.2.1", "0"]);
    illegal(&["0", "3", "<array><data><value><array><data/></array></value></data></array>", "0"]);
    illegal(&["0", "3", "<struct></struct>", "0"]);
    illegal(&["0", "3", NONE]);
    illegal(&["0", "3", NONE, "0", "0"]);
    illegal(&[]);

    let no_xml = |text: &str| assert!(matches!(Call::from_xml(text), Err(Error::Xml(_))), "{text:?}");
    no_xml("");
    no_xml("x");
    no_xml("<methodCall>");
    no_xml("<methodCall></methodCall>");
    no_xml("<methodResponse></methodResponse>");
    no_xml("<methodCall><methodName>x</methodCall></methodName>");
    no_xml("<methodCall><methodName>x</methodName></methodCall><more/>");
    no_xml("<methodCall><methodName>x</methodName></methodCall>more");
    no_xml("<methodCall><methodName>x</methodName><params><param>1</param></params></methodCall>");
    no_xml("<methodCall><methodName>&#0;</methodName></methodCall>");
}

#[test]
fn what_would_grow_is_refused() {
    let limit = |text: &str| assert!(matches!(Call::from_xml(text), Err(Error::Limit(_))), "{:.60}", text);
    limit(
        "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><methodCall><methodName>&b;</methodName></methodCall>",
    );
    limit("<methodCall><methodName>&b;</methodName></methodCall>");
    let nested = |depth: usize| {
        let (open, close) = ("<array><data><value>".repeat(depth), "</value></data></array>".repeat(depth));
        format!("<methodCall><methodName>x</methodName>{}</methodCall>", parameters(&[&format!("{open}{close}")]))
    };
    assert_eq!(Call::from_xml(&nested(DEPTH_MAX - 1)), Ok(Call::Other("x".into())));
    limit(&nested(DEPTH_MAX));
    limit(&nested(200_000));
    let many = |count: usize| {
        let array = format!("<array><data>{}</data></array>", "<value/>".repeat(count));
        format!("<methodCall><methodName>add_hosts</methodName>{}</methodCall>", parameters(&[&array]))
    };
    assert_eq!(Call::from_xml(&many(VALUES_MAX - 1)), Ok(Call::AddHosts(vec![String::new(); VALUES_MAX - 1])));
    limit(&many(VALUES_MAX));
}

#[test]
fn answers_are_read_tolerantly() {
    let check = |value: &str, want: Result<Answer, Error>| {
        let text = format!("<methodResponse>{value}</methodResponse>");
        assert_eq!(Answer::from_xml(&text), want, "{value:?}");
    };
    let members = |members: &[(&str, &str)]| {
        let each =
            members.iter().map(|(name, value)| format!("<member><name>{name}</name><value>{value}</value></member>"));
        format!("<struct>{}</struct>", each.collect::<String>())
    };
    let hosts = |timestamp, hosts: &[&str]| Ok(Answer::NewHosts { timestamp, hosts: owned(hosts) });
    const ONE: &str = "<array><data><value>192.0.2.1; echo</value></data></array>";
    let new = |timestamp: &str, hosts: &str| parameters(&[&members(&[("hosts", hosts), ("timestamp", timestamp)])]);
    check(&new("<int>17</int>", ONE), hosts(17, &["192.0.2.1; echo"]));
    check(&new("<string>17</string>", "<nil/>"), hosts(17, &[]));
    check(&new("17", "<ex:nil xmlns:ex=\"x\"/>"), hosts(17, &[]));
    check(
        &parameters(&[&members(&[("timestamp", "1"), ("hosts", ""), ("timestamp", "2"), ("more", "")])]),
        hosts(2, &[]),
    );
    let bad = || Err(Error::Parameters("the answer of get_new_hosts"));
    check(&new("", ONE), bad());
    check(&new("1", "192.0.2.1"), bad());
    check(&parameters(&[&members(&[("timestamp", "1")])]), bad());
    for done in ["", "<int>0</int>", "<nil/>", "<boolean>1</boolean>", "<struct/>", ONE] {
        check(&parameters(&[done]), Ok(Answer::Done));
    }
    check("<params></params>", Ok(Answer::Done));
    let fault = |text: &str| format!("<fault><value>{text}</value></fault>");
    let told = |code, text: &str| Ok(Answer::Fault { code, text: text.to_owned() });
    check(&fault(&members(&[("faultCode", "101"), ("faultString", "no")])), told(101, "no"));
    check(&fault(&members(&[("faultString", "<nil/>"), ("faultCode", "<string>8001</string>")])), told(8001, ""));
    check(&fault(&members(&[("faultString", "no")])), Err(Error::Parameters("a fault")));
    check(&fault("0"), Err(Error::Parameters("a fault")));
}

#[test]
fn what_is_written_is_read_again() {
    let check = |call: Call| assert_eq!(Call::from_xml(&call.to_xml()), Ok(call));
    // A time that Python would not take as an int.
    check(asked(1 << 33, 2, &[], u64::MAX));
    assert!(asked(1 << 33, 2, &[], 0).to_xml().contains("<value><string>8589934592</string></value>"));
    check(Call::AddHosts(owned(&["a&b", "<c>]]>", "\r\n\t", "é\u{1f600}", "  "])));
    let fault = Answer::Fault { code: -32700, text: "\u{1}<&".into() };
    assert_eq!(Answer::from_xml(&fault.to_xml()), Ok(Answer::Fault { code: -32700, text: "?<&".into() }));
}

/// What was recorded, with some bytes changed: it is read or refused, and what was read is written so that it is read again.
#[test]
fn damaged_messages_are_read_or_refused() {
    let recorded = [
        recorded!("add_hosts.request"),
        recorded!("get_new_hosts.request"),
        recorded!("get_new_hosts.answer"),
        recorded!("add_hosts-fault.answer"),
    ];
    const PIECES: [&str; 12] =
        ["<", ">", "/", "&", ";", "&#0;", "<value>", "</value>", "<nil/>", "<![CDATA[", "<!--", "\u{fffd}"];
    kit::property("xmlrpc", 500, |random| {
        let mut text = random.of(&recorded).to_owned();
        for _ in 0..random.below(4u32) {
            let place = random.below(text.len());
            let place = (0..=place).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0);
            match random.below(3u32) {
                0 => text.truncate(place),
                1 => text.insert_str(place, random.pick(&PIECES)),
                _ => drop(text.remove(place)),
            }
            if text.is_empty() {
                break;
            }
        }
        if let Ok(call) = Call::from_xml(&text) {
            assert_eq!(Call::from_xml(&call.to_xml()).map(|call| call.to_xml()), Ok(call.to_xml()));
        }
        if let Ok(answer) = Answer::from_xml(&text) {
            assert_eq!(Answer::from_xml(&answer.to_xml()).map(|answer| answer.to_xml()), Ok(answer.to_xml()));
        }
    });
}
