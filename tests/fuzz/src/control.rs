//! Requests of the control socket. What is read and written again is the same.
#![no_main]

use denyd::desk::Request;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(request) = serde_json::from_str::<Request>(text) {
        let again = serde_json::to_string(&request).expect("it can be written");
        assert_eq!(serde_json::from_str::<Request>(&again).expect("its own text"), request);
    }
});
