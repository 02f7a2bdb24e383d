//! XML-RPC in both directions, as the hub reads requests and the sync client answers. What was read is written so that it
//! is read again.
#![no_main]

use denyd::xmlrpc::{Answer, Call};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(call) = Call::from_xml(text) {
        let written = call.to_xml();
        let again = Call::from_xml(&written).expect("its own text");
        assert_eq!(again.to_xml(), written);
    }
    if let Ok(answer) = Answer::from_xml(text) {
        let written = answer.to_xml();
        let again = Answer::from_xml(&written).expect("its own text");
        assert_eq!(again.to_xml(), written);
    }
});
