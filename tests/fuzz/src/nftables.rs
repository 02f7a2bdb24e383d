//! What the kernel's nftables say over netlink: messages, attributes, and what they mean.
#![no_main]

use denyd::deny::nft::Table;
use denyd::deny::nft::message::{ELEMENTS_MAX, Told};
use denyd::deny::nft::wire::{attributes, messages};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let table: Table = "t".parse().expect("a name");
    let mut read = 0;
    for message in messages(data) {
        let Some(message) = message else { break };
        read += 16 + message.body.len();
        if let Some(Told::Elements { elements, .. }) = Told::read(&message, &table) {
            assert!(elements.len() <= ELEMENTS_MAX);
        }
        assert!(attributes(message.body).map(|(_, value)| 4 + value.len()).sum::<usize>() <= message.body.len());
    }
    assert!(read <= data.len(), "no byte is read twice");
});
