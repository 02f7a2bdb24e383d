//! Entries of the allow list, and prefixes. What is read and written again means the same.
#![no_main]

use denyd::decide::allow::AllowList;
use denyd::decide::prefix::Prefix;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (list, _) = AllowList::read(data);
    let again = AllowList::of(list.entries()).expect("its own entries");
    assert!(list.ranges().eq(again.ranges()) && list.names().eq(again.names()));
    for line in data.split(|byte| *byte == b'\n') {
        if let Some(prefix) = std::str::from_utf8(line).ok().and_then(|text| text.parse::<Prefix>().ok()) {
            assert_eq!(prefix.to_string().parse(), Ok(prefix));
            assert_eq!(Prefix::from_bytes(&prefix.to_bytes()), Some(prefix));
            assert!(prefix.contains(&Prefix::host(prefix.address())) && prefix.contains(&Prefix::host(prefix.last())));
        }
    }
});
