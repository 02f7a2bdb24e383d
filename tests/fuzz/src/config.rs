//! The configuration. What is read and written out again means the same.
#![no_main]

use std::path::Path;

use denyd::config::Config;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // Files that it names are read: they must be none of this machine's.
    if ["_file", "certificate", "key", "ca"].iter().any(|word| text.contains(word)) {
        return;
    }
    let file = Path::new("denyd.toml");
    match Config::parse(file, text) {
        Ok(config) => {
            let again = Config::parse(file, &config.to_toml()).expect("its own text");
            assert_eq!(again.to_toml(), config.to_toml());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
