//! What `check` takes, `run` takes.

use std::net::UdpSocket;

/// The system gives one of two sockets that are in each other's way.
#[test]
fn two_listeners_may_be_in_each_others_way() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("denyd.toml");
    let check = |other: &str| {
        let input = |address: &str| format!("[[input]]\nkind = \"syslog\"\nlisten = \"udp://{address}:{port}\"\n");
        let (one, two) = (input("127.0.0.1"), input(other) + "from = [\"192.0.2.0/24\"]\n");
        let socket = format!("control_socket = \"{}\"\n", dir.path().join("control").display());
        std::fs::write(&file, format!("{socket}[deny]\nbackends = [\"stdout\"]\n{one}{two}")).unwrap();
        let (status, out, err) = kit::run(&["--config", file.to_str().unwrap(), "check"], b"");
        (status.code(), String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap())
    };
    let (code, said) = check("127.0.0.2");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check("0.0.0.0");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Address already in use"), "{said}");
}
