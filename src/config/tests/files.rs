//! Files that a configuration names, and the file itself.

use super::*;

/// A directory of one test, removed with its value.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("denyd-config-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn write(&self, name: &str, contents: &[u8]) -> String {
        let file = self.0.join(name);
        std::fs::write(&file, contents).unwrap();
        file.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn reads_the_files_it_names() {
    let directory = Directory::new("names");
    let users = directory.write("restricted", b"# \xff\nmysql\n\n  J\xf6rg \r\n");
    let allow = directory.write("allowed", b"# office\n192.0.2.[6-23]\n198.51.100.7 # desk\n");
    let text = format!(
        "[decide]\nallow = [\"203.0.113.1\"]\nallow_file = \"{allow}\"\nrestricted_users = [\"www\"]\nrestricted_users_file = \"{users}\"\n"
    );
    let file = directory.write("denyd.toml", text.as_bytes());
    let config = Config::read(Path::new(&file)).unwrap();
    let policy = config.policy();
    assert_eq!(policy.restricted, HashSet::from([b"mysql".to_vec(), b"J\xf6rg".to_vec(), b"www".to_vec()]));
    assert_eq!(policy.allow.entries().collect::<Vec<_>>(), ["203.0.113.1", "192.0.2.[6-23]", "198.51.100.7"]);
    assert!(policy.allow.contains("192.0.2.23".parse().unwrap()));
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
    let more = directory.write("more", b"news\nmysql\n");
    let both = text.replace(&format!("\"{users}\""), &format!("[\"{users}\", \"{more}\"]"));
    directory.write("denyd.toml", both.as_bytes());
    let config = Config::read(Path::new(&file)).unwrap();
    assert_eq!((config.policy().restricted.len(), config.decide.restricted_users_files.len()), (4, 2));
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
    directory.write("denyd.toml", text.as_bytes());

    directory.write("restricted", b"ok\na\x1b[31mb\n");
    directory.write("allowed", b"192.0.2.1\nexample.org.\n192.0.2.2/40\n");
    let wrong = Config::read(Path::new(&file)).unwrap_err().to_string();
    let expected = format!(
        "{allow}:2: allow entry `example.org.`: not a host name; such a name has at most 253 letters, digits and hyphens (IDN: write xn--…), at most 63 from dot to dot, no hyphen beside a dot, no dot at its ends, and no number behind its last dot\n\
         {allow}:3: allow entry `192.0.2.2/40`: `/40` is not a prefix length; write 0 to 32 for this family\n\
         {users}:2: user name `a\\u{{1b}}[31mb`: expected one name of at most 255 bytes a line, without control characters"
    );
    assert_eq!(wrong, expected);
}

#[test]
fn unreadable_files() {
    let directory = Directory::new("unreadable");
    let missing = directory.0.join("missing");
    let error = Config::read(&missing).unwrap_err().to_string();
    assert_eq!(error, format!("cannot read {}: No such file or directory (os error 2)", missing.display()));
    check(
        "[decide]\nallow_file = \"/nonexistent/x\"",
        &[
            "denyd.toml:2: [decide] allow_file = \"/nonexistent/x\": cannot read this file: No such file or directory (os error 2)",
        ],
    );
    check_decide("allow_file = \"/\"", "cannot read this file: Is a directory (os error 21)");
    let latin = directory.write("latin.toml", b"[decide]\n# J\xf6rg\n");
    let error = Config::read(Path::new(&latin)).unwrap_err().to_string();
    assert_eq!(error, format!("{latin}:2: not UTF-8 text; save the file as UTF-8"));
    let large = directory.write("large.toml", &vec![b'\n'; 4 * 1024 * 1024 + 1]);
    let error = Config::read(Path::new(&large)).unwrap_err().to_string();
    assert_eq!(error, format!("cannot read {large}: larger than 4 MiB"));
}

/// The longest names that are taken can be used: the system takes them, too.
#[test]
fn what_is_taken_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().display();
    let fits = |name: &str, longest: usize| format!("{directory}/{}", name.repeat(longest));
    let socket = fits("s", 107 - directory.to_string().len() - 1);
    let taken = parse(&format!("[[input]]\nkind = \"syslog\"\nlisten = \"unix:///{}\"", &socket[1..])).unwrap();
    let Source::Syslog(syslog) = &taken.inputs[0].source else { panic!("a listener") };
    inputs::syslog::listen::bind(&syslog.listen, syslog.options.clone()).unwrap();
    let taken = parse(&format!("state_dir = \"{}\"", fits("d", 255))).unwrap();
    std::fs::create_dir(&taken.state_dir).unwrap();
    let long = "a path has at most 4000 bytes, and 255 between slashes";
    for refused in [fits("d", 256), fits("d/", 2000)] {
        let said = parse(&format!("state_dir = \"{refused}\"")).unwrap_err();
        assert!(said.ends_with(long), "{said}");
        assert!(std::fs::create_dir(&refused).is_err());
    }
}

/// Whoever could write the file could let anybody in; and nobody waits for who holds a pipe.
#[test]
fn a_file_of_somebody_else_allows_nobody() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, expected: &str| {
        let file = dir.path().join(name).display().to_string();
        for key in ["allow_file", "restricted_users_file"] {
            check_decide(&format!("{key} = \"{file}\""), &format!("cannot read this file: {expected}"));
        }
    };
    nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    check("pipe", "it is a pipe or a socket, and not a file");
    let open = dir.path().join("open");
    std::fs::write(&open, "192.0.2.1\n").unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o646)).unwrap();
    check("open", "everybody may write it, and so let anybody in; chmod o-w it");
    if nix::unistd::geteuid().is_root() {
        let other = dir.path().join("other");
        std::fs::write(&other, "0.0.0.0/0\n").unwrap();
        std::os::unix::fs::chown(&other, Some(1001), None).unwrap();
        check("other", "it belongs to uid 1001, who could let anybody in; chown root it");
    }
}
