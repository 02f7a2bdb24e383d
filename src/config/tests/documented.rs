//! `packaging/denyd.toml` and its manual page: defaults, examples, every key.

use super::*;

/// The default file without the `#` before its keys.
fn uncommented() -> String {
    let key = |line: &str| {
        line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned)
    };
    DOCUMENTED.lines().map(|line| key(line).unwrap_or(line.to_owned()) + "\n").collect()
}

#[test]
fn the_default_file_says_the_defaults() {
    assert_eq!(parse(DOCUMENTED).unwrap(), Config::default());
    assert_eq!(parse(&uncommented()).unwrap(), Config::default());
    // Every key that has a default is there: what is printed is in the file.
    for line in Config::default().to_toml().lines() {
        assert!(uncommented().lines().any(|documented| documented == line), "{line}");
    }
}

/// The examples of the default file: runs of lines that begin with `#` and three spaces, each below its table.
fn examples() -> Vec<String> {
    let mut examples: Vec<String> = Vec::new();
    let (mut table, mut inside) = ("", false);
    for line in DOCUMENTED.lines() {
        if line.starts_with('[') {
            table = line;
        }
        let example = line.strip_prefix("#   ");
        match (example, inside) {
            (Some(example), true) => examples.last_mut().unwrap().push_str(&format!("{example}\n")),
            (Some(example), false) if example.starts_with('[') => examples.push(format!("{example}\n")),
            (Some(example), false) => examples.push(format!("{table}\n{example}\n")),
            (None, _) => {}
        }
        inside = example.is_some();
    }
    examples
}

#[test]
fn the_examples_of_the_default_file_are_right() {
    let mut documented = uncommented();
    for example in examples() {
        documented.push_str(&example);
        let files = example.contains("_file = ");
        match parse(&example) {
            Ok(config) if example.starts_with("[[input]]") => says_the_defaults(&example, &config.inputs[0]),
            Ok(config) => assert_ne!(config, Config::default(), "{example}"),
            // The files of the examples are not on this machine, and who logs in needs a password.
            Err(error) => {
                let is_half =
                    error.contains("[mail] without `username`") || error.contains("[mail] without `password_file`");
                assert!(is_half || files && error.contains("cannot read this file"), "{error}\n{example}");
            }
        }
    }
    // rules.md tells of rules.
    for Listed { name, keys, .. } in listed().into_iter().filter(|table| !table.name.starts_with("[[rule")) {
        for key in keys.iter().filter(|key| {
            ![
                "decide",
                "deny",
                "nftables",
                "iptables",
                "pf",
                "hosts_deny",
                "mail",
                "webhook",
                "compat",
                "plugin",
                "report",
                "sync",
                "input",
                "rule",
            ]
            .contains(key)
        }) {
            let line = format!("{key} = ");
            assert!(documented.lines().any(|documented| documented.starts_with(&line)), "{key} of {name} is missing");
        }
    }
}

/// The example's keys that have a default show it.
fn says_the_defaults(example: &str, input: &Input) {
    assert_eq!(input.first_read, Start::default(), "{example}");
    match &input.source {
        Source::File(file) => assert_eq!(file.format, Format::default(), "{example}"),
        Source::Journald(journald) => {
            let default = Journald { directory: journald.directory.clone(), ..Journald::default() };
            assert_eq!(*journald, default, "{example}");
        }
        Source::Multilog(_) => {}
        Source::Syslog(syslog) => {
            let mut default = Syslog::new(syslog.listen.clone());
            default.options.from = syslog.options.from.clone();
            default.trusted_user = syslog.trusted_user.clone();
            assert_eq!(*syslog, default, "{example}");
        }
    }
}

#[test]
fn packages_have_what_the_keys_say() {
    let anew = |file: &str| format!("write it anew: denyd describe {file} > packaging/{file}");
    assert!(packaged() == DOCUMENTED, "{}", anew("denyd.toml"));
    assert!(manual() == include_str!("../../../packaging/denyd.toml.5"), "{}", anew("denyd.toml.5"));
}
