//! dropbear's grammar.
#![no_main]

use denyd::detect::dropbear;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for truncated in [false, true] {
        let _ = dropbear::parse(data, truncated);
    }
    // A stranger's name, in the message about his password.
    let name: Vec<u8> = data.iter().copied().filter(|byte| *byte != b'\n').collect();
    let message = [b"Bad password attempt for '", &name[..], b"' from 192.0.2.7:4022"].concat();
    let found = dropbear::parse(&message, false).and_then(|event| event.peer.address()).map(std::net::IpAddr::from);
    assert_eq!(found, Some("192.0.2.7".parse().expect("an address")));
});
