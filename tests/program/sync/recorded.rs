//! The client by the bytes of DenyHosts' protocol: what it asks is what Python's client asks, and it takes what Python's server
//! answers, as `tests/data/sync/record.py` recorded both.
//!
//! Nobody shares the addresses of examples, so others of the same length stand in the place of those that were recorded.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::thread::JoinHandle;

use kit::Home;

use super::{attack, denied};

/// What was recorded, and what stands here in its place.
const HOSTS: [(&str, &str); 4] = [
    ("192.0.2.6", "20.77.7.6"),
    ("2001:db8::6", "20.77.77.66"),
    ("192.0.2.7", "20.77.7.7"),
    ("2001:db8::7", "2a00:db8::7"),
];

fn recorded(name: &str) -> Vec<u8> {
    fs::read(kit::data(&format!("sync/{name}"))).unwrap()
}

/// The lines of the head but the first, by their names in small letters, and the body. The first line comes by itself.
fn parts(request: &str) -> (String, Vec<(String, String)>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let (first, lines) = head.split_once("\r\n").unwrap();
    let lines = lines.split("\r\n").map(|line| line.split_once(": ").unwrap());
    (first.to_owned(), lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(), body.to_owned())
}

/// A server that answers connection after connection with these bytes and looks at none, until one says nothing; what it was
/// asked.
fn replay(answers: Vec<Vec<u8>>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answered = move |answer: Vec<u8>| {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if stream.read_line(&mut request).unwrap() == 0 {
                return None;
            }
        }
        let (_, lines, _) = parts(&request);
        let length: usize = lines.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        stream.get_mut().write_all(&answer).unwrap();
        Some(request + &String::from_utf8(body).unwrap())
    };
    (port, std::thread::spawn(move || answers.into_iter().map_while(answered).collect()))
}

/// One call: the request that was recorded, what is other in its body here, and the answer that was recorded.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

/// A run by `--sync` of a machine that has just denied `attackers`: it asks what the rows say and nothing else, with Python's
/// bytes. Then it ends well, or says `wrong`, and denies `want` on the server's word.
fn check(keys: &str, attackers: &[&str], rows: &[Row<'_>], wrong: Option<&str>, want: &[&str]) {
    let answer = |name: &str| match name {
        // What is packed holds addresses of examples, of which none is denied.
        "gzip" => recorded("gzip.answer"),
        name => {
            let text = String::from_utf8(recorded(&format!("{name}.answer"))).unwrap();
            HOSTS.iter().fold(text, |text, (from, to)| text.replace(from, to)).into_bytes()
        }
    };
    let (port, server) = replay(rows.iter().map(|row| answer(row.2)).collect());
    let home = Home::with_log();
    let config = fs::read_to_string(home.path("config")).unwrap();
    let sync = format!("[sync]\nserver = \"http://127.0.0.1:{port}\"\n{keys}[[input]]");
    fs::write(home.path("config"), config.replacen("[[input]]", &sync, 1)).unwrap();
    attackers.iter().for_each(|address| attack(&home, address));
    let config = home.path("config");
    let mut run = kit::denyd(&["-c", config.to_str().unwrap(), "--sync"]);
    let output = run.arg0("denyhosts.py").output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(i32::from(wrong.is_some())), "{rows:?}: {said}");
    assert!(wrong.is_none_or(|wrong| said.contains(wrong)), "{wrong:?}: {said}");
    // Where it asked less the server still waits.
    drop(TcpStream::connect(("127.0.0.1", port)));
    let asked = server.join().unwrap();
    assert_eq!(asked.len(), rows.len(), "{asked:?}");
    for ((name, other, _), asked) in rows.iter().zip(asked) {
        let text = String::from_utf8(recorded(&format!("{name}.request"))).unwrap();
        let text = HOSTS.iter().fold(text, |text, (from, to)| text.replace(from, to));
        let (first, lines, body) = parts(&text);
        let body = other.iter().fold(body, |body, (from, to)| {
            assert!(body.contains(from), "{name}: {from}: {body}");
            body.replace(from, to)
        });
        let (first_asked, lines_asked, body_asked) = parts(&asked);
        assert_eq!((first_asked, &body_asked), (first, &body), "{name}");
        for (header, value) in lines {
            let value = match header.as_str() {
                "host" => format!("127.0.0.1:{port}"),
                "user-agent" => format!("denyd/{}", env!("CARGO_PKG_VERSION")),
                "content-length" => body.len().to_string(),
                _ => value,
            };
            assert!(lines_asked.contains(&(header.clone(), value.clone())), "{name}: {header}: {value}: {asked}");
        }
    }
    let mut all = [attackers, want].concat();
    all.sort_unstable();
    assert_eq!(denied(&home), all, "{rows:?}");
}

#[test]
fn the_client_asks_as_python_does_and_takes_what_python_answers() {
    const BOTH: [&str; 2] = ["20.77.7.6", "20.77.77.66"];
    let none_yet = ("<int>1</int>", "<int>0</int>");
    let line = |host: &str| format!("<value><string>{host}</string></value>\n");
    let (one, other) = (line(BOTH[0]), line(BOTH[1]));
    let (none, two) = ("<array><data>\n", format!("<array><data>\n{one}{other}"));
    let get = "get_new_hosts-none";
    // Whom it has sent it need not be told of; a timestamp that is a string.
    check(
        "",
        &[BOTH[0]],
        &[("add_hosts", &[(&other, "")], "add_hosts"), ("get_new_hosts", &[], "get_new_hosts")],
        None,
        &["20.77.7.7", "2a00:db8::/64"],
    );
    check("", &BOTH, &[("add_hosts", &[], "add_hosts"), (get, &[none_yet, (none, &two)], get)], None, &[]);
    // Packed, and its timestamp an int: fifty hosts are a full page, after which that time is asked for.
    check(
        "threshold = 1\n",
        &[],
        &[
            ("gzip", &[("<int>2</int>", "<int>0</int>")], "gzip"),
            ("gzip", &[("<int>2</int>", "<int>1700000000</int>")], get),
        ],
        None,
        &[],
    );
    // A server that does not want to know the version, as DenyHosts' own.
    let version = format!("denyd {}", env!("CARGO_PKG_VERSION"));
    check(
        "version_report = true\n",
        &[],
        &[("version_report", &[("3.11.7", "-"), ("3.1.1", &version)], "version_report"), (get, &[none_yet], get)],
        None,
        &[],
    );
    // A fault that names none of those that were sent: each is sent alone, and the one that is refused keeps back no other.
    check(
        "",
        &BOTH,
        &[
            ("add_hosts", &[], "add_hosts-fault"),
            ("add_hosts", &[(&other, "")], "add_hosts-fault"),
            ("add_hosts", &[(&one, "")], "add_hosts"),
            (get, &[none_yet, (none, &format!("{none}{other}"))], get),
        ],
        None,
        &[],
    );
    let wrong = "fault 101: Illegal IP address \"bad<host\".";
    check("", &[], &[(get, &[none_yet], "add_hosts-fault")], Some(wrong), &[]);
}
