//! Configurations that are drawn: what is printed is read as the same.

use super::*;

/// Draws configurations.
struct Random<'a>(&'a mut kit::Random);

impl Random<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    fn some<T>(&mut self, value: T) -> Option<T> {
        self.yes().then_some(value)
    }

    fn duration(&mut self) -> Duration {
        let most = self.of(&[100, 100_000, duration::LONGEST_S]);
        Duration::from_secs(1 + self.below(most))
    }

    fn text(&mut self) -> String {
        let letters = ['a', 'Z', '7', '"', '\\', ' ', '#', 'é', '漢', '\'', '[', '='];
        format!("n{}", (0..self.below(12)).map(|_| self.of(&letters)).collect::<String>())
    }

    fn path(&mut self) -> PathBuf {
        PathBuf::from(format!("/{}", self.text()))
    }

    fn config(&mut self) -> Config {
        let mut policy = Policy::default();
        for class in 0..5 {
            let count = self.of(&[0, 7, u32::MAX]);
            let age = self.duration();
            (policy.thresholds[class], policy.age_reset[class]) = (self.some(Threshold(count)), self.some(age));
        }
        let (deny_for, times) = (self.duration(), 1 + self.below(9) as u32);
        policy.reset_on_success = self.yes();
        policy.deny_for = self.some(deny_for);
        policy.permanent_after = self.some(times);
        policy.ipv4_bits = 8 + self.below(25) as u8;
        policy.ipv6_bits = 32 + self.below(97) as u8;
        policy.replay_max_age = self.duration();
        let restricted_users: Vec<String> = (0..self.below(4)).map(|_| self.text()).collect();
        policy.restricted = restricted_users.iter().map(|name| name.clone().into_bytes()).collect();
        let entries = ["192.0.2.7", "192.0.2.[6-23]", "10.*", "2001:db8::/32", "::ffff:192.0.2.1", "1.1.*.[7-9]"];
        let allow: Vec<String> = (0..self.below(4)).map(|_| self.of(&entries).to_owned()).collect();
        policy.allow = AllowList::of(allow.iter().map(String::as_str)).unwrap();
        let backends =
            [vec![], vec![kind("stdout")], vec![kind("nftables"), kind("hosts.deny")], vec![kind("hosts.deny")]];
        let backends = match self.of(&backends) {
            none if none.is_empty() => Backends::Auto,
            these => Backends::These(these),
        };
        let mut config = Config {
            state_dir: self.path(),
            control_socket: self.path(),
            log_level: self.of(&[tracing::Level::ERROR, tracing::Level::TRACE]),
            spare_machine: self.yes(),
            rules_dir: self.path(),
            decide: Decide { policy, restricted_users, allow, ..Decide::default() },
            deny: Deny {
                release_on_exit: self.yes(),
                cut_connections: self.yes(),
                backends,
                effect: Effect {
                    ports: self.of(&[None, Some(vec![22]), Some(vec![65535, 22, 1])]),
                    action: self.of(&[Action::Drop, Action::Reject]),
                    counters: self.yes(),
                    spared: Vec::new(),
                },
                nftables: nft::Settings { table: self.of(&["denyd", "My-Table", "_x-1"]).parse().expect("a name") },
                iptables: iptables::Settings { chain: self.of(&["denyd", "a-1_b"]).parse().expect("a name") },
                pf: pf::Settings {
                    anchor: self.of(&[None, Some("a-1_b")]).map(|name| name.parse().expect("a name")),
                    table: self.of(&["denyd", "Bad"]).parse().expect("a name"),
                },
                hosts_deny: hosts_deny::Settings {
                    path: self.path(),
                    service: self.of(&["", "sshd", "ALL"]).parse().expect("a service"),
                    comment: self.yes(),
                },
            },
            mail: self.mail(),
            webhook: self.webhook(),
            compat: self.compat(),
            plugin: self.plugin(),
            report: self.report(),
            sync: self.sync(),
            inputs: (0..self.below(5)).map(|index| self.input(index)).collect(),
            own_rules: (0..self.below(3)).map(|index| self.rule(index)).collect(),
            old_log: None,
            remarks: Vec::new(),
        };
        config.deny.effect.spared = config.inputs.iter().flat_map(Input::spared).collect();
        config
    }

    fn rule(&mut self, index: u64) -> Draft {
        let (is_unsafe, has_hit) = (self.yes(), self.yes());
        let identifiers = [vec!["vsftpd", "a\"b"], vec![if is_unsafe { "*" } else { "sshd" }]];
        let hit = |times| Hit {
            message: format!("login of \"b\\ob\" from 192.0.2.1, {times}"),
            addr: "192.0.2.1".parse::<IpAddr>().unwrap().into(),
            user: Some("\"b\\ob\"".to_owned()),
            times,
        };
        Draft {
            name: format!("rule.{index}"),
            identifiers: self.of(&identifiers).into_iter().map(str::to_owned).collect(),
            event: self.of(&[Happened::Failure, Happened::Success]),
            account: self.of(&[Account::Unsaid, Account::Unknown, Account::Known]),
            uids: self.of(&[vec![0], vec![7, 0]]),
            pattern: "^login of (?P<user>.{0,80}) from (?P<host>[0-9a-f.:]+), (?P<times>\\d+)$".to_owned(),
            is_unsafe,
            hits: if has_hit { vec![hit(1), hit(3)] } else { Vec::new() },
            misses: if self.yes() { vec!["'\"".to_owned(), "\n".to_owned()] } else { Vec::new() },
        }
    }

    fn sync(&mut self) -> Sync {
        let urls = ["http://127.0.0.1:9911/RPC2", "https://hub.example.org/a/b", "http://[2001:db8::1]:9911/RPC2"];
        let (url, lasts, age, path) = (self.of(&urls), self.duration(), self.duration(), self.path());
        Sync {
            server: self.some(url.parse().expect("a URL")),
            interval: Duration::from_secs(300) + self.duration(),
            upload: self.yes(),
            download: self.yes(),
            threshold: 1 + self.below(10_000) as u32,
            resiliency: self.some(age),
            deny_for: self.of(&[None, Some(None), Some(Some(lasts))]),
            hosts_max: 1 + self.below(100_000) as u32,
            token_file: None,
            ca_file: self.some(path),
            version_report: self.yes(),
        }
    }

    fn compat(&mut self) -> Compat {
        let (path, age) = (self.path(), self.duration());
        Compat {
            work_dir: self.yes().then(|| self.path()),
            forgive_deleted: self.yes(),
            lock_file: self.some(path),
            purge_after: self.some(age),
        }
    }

    fn report(&mut self) -> Report {
        Report {
            log_file: self.yes().then(|| self.path()),
            log_time_format: self.some("%b %d %H:%M:%S".to_owned()),
            log_message_format: self.of(&["%(message)s", report::Format::USUAL, "%%(\"\\ %(name)-3s"]).parse().unwrap(),
            syslog: self.yes(),
            host_names: self.yes(),
            suspicious_of_allowed: self.yes(),
            table_file: self.yes().then(|| self.path()),
        }
    }

    fn plugin(&mut self) -> Plugin {
        let programs = [
            Vec::new(),
            vec![vec!["/bin/a".to_owned()]],
            vec![vec!["/bin/b".to_owned(), "two \"words\"".to_owned(), String::new()], vec!["/c".to_owned()]],
        ];
        Plugin {
            deny: self.of(&programs),
            purge: self.of(&programs),
            of: self.of(&[Of::Log, Of::All]),
            argument: self.of(&[Argument::Prefix, Argument::Address]),
            time_limit: self.duration(),
        }
    }

    fn webhook(&mut self) -> Webhook {
        let template = self.yes().then(|| "{\"a\": \"{{text}}\\n\"}".to_owned());
        let preset = if template.is_some() { Preset::Text } else { self.of(&[Preset::Text, Preset::Ntfy]) };
        let (url_file, ca_file) = (self.yes().then(|| self.path()), self.yes().then(|| self.path()));
        Webhook { url_file, preset, template, ca_file, first_within: self.duration(), every: self.duration() }
    }

    fn mail(&mut self) -> Mail {
        let boxes = ["root@localhost", "\"N. Shift, \\\"of\\\" day\" <a.b+c@example.org>", "Zoë <zoe@example.org>"];
        let boxes: Vec<Mailbox> = boxes.iter().map(|text| text.parse().unwrap()).collect();
        let (username, password_file) = (self.text() + "u", self.path());
        let (server, tls) = self.of(&[
            ("[2001:db8::1]:465", Tls::Implicit),
            ("mail.example.org:587", Tls::Starttls),
            ("localhost:25", Tls::None),
        ]);
        let account = self.yes();
        Mail {
            to: (0..self.below(4)).map(|_| self.of(&boxes)).collect(),
            from: self.some(boxes[0].clone()),
            subject: self.some("Report #1".to_owned()),
            server: server.parse().unwrap(),
            tls,
            ca_file: self.yes().then(|| self.path()),
            username: Some(username).filter(|_| account),
            password_file: Some(password_file).filter(|_| account),
            first_within: self.duration(),
            every: self.duration(),
        }
    }

    /// An input whose name, path and listener carry `index`, so that no two are alike.
    fn input(&mut self, index: u64) -> Input {
        let (text, host, zone) = (self.text(), self.of(&["web1", "192.0.2.1"]), TimeZone::UTC);
        let path = PathBuf::from(format!("/{text}{index}"));
        let mut first_read = self.of(&[Start::Now, Start::Beginning]);
        let identifier = self.some("sshd");
        let pattern = self.of(&["^[0-9]+ (?P<message>.*)$", "'(?P<message>.*)"]);
        let framing = inputs::syslog::parse::Framing::new(pattern, pattern.starts_with('^')).unwrap();
        let framing = self.some(framing);
        let source = match self.below(5) {
            2 => {
                first_read = self.of(&[Start::Now, Start::Beginning, Start::Back(Duration::from_secs(7))]);
                let reader = self.of(&[Reader::Auto, Reader::Native, Reader::Journalctl]);
                Source::Journald(Journald { directory: Some(path), reader })
            }
            0 => {
                let format = self.of(&[Format::Auto, Format::Message]);
                let framing = framing.filter(|_| identifier.is_none() && format == Format::Auto);
                Source::File(File { path, format, identifier, framing })
            }
            1 => {
                let framing = framing.filter(|_| identifier.is_none());
                Source::Multilog(File { path, format: Format::Multilog, identifier, framing })
            }
            _ => {
                first_read = Start::Now;
                Source::Syslog(self.syslog(&text, index))
            }
        };
        let name = if self.yes() { source.name() } else { format!("{text}{index}") };
        Input { name, host: self.some(host.to_owned()), timezone: self.some(zone), first_read, source }
    }

    fn identity(&mut self) -> Identity {
        let names = ["web1.example.org", "*.example.org", "web1"];
        let permitted = (0..self.below(3)).map(|_| self.of(&names).parse().unwrap()).collect();
        let clients = Clients { ca: self.path(), permitted };
        Identity { certificate: self.path(), key: self.path(), clients: self.some(clients) }
    }

    fn syslog(&mut self, text: &str, index: u64) -> Syslog {
        let address = format!("{}:{}", self.of(&["[2001:db8::1]", "192.0.2.1", "127.0.0.1"]), 514 + index);
        let (address, path) = (address.parse().unwrap(), PathBuf::from(format!("/{text}{index}")));
        let identity = Box::new(self.identity());
        let mut syslog = Syslog::new(self.of(&[
            Listen::Udp(address),
            Listen::Tcp(address),
            Listen::Tls(address, identity),
            Listen::UnixStream(path.clone()),
            Listen::UnixDatagram(path),
        ]));
        syslog.unwrap_imfile = self.yes();
        syslog.options.max_rate = 100 + self.below(1_000_000) as u32;
        if syslog.address().is_some() {
            syslog.options.from = vec![("192.0.2.0".parse().unwrap(), 24), ("2001:db8::1".parse().unwrap(), 128)];
        } else {
            syslog.options.mode = self.below(0o1000) as u32;
        }
        if syslog.is_stream() {
            syslog.options.max_connections = 1 + self.below(65_536) as usize;
            syslog.options.max_per_sender = 1 + self.below(65_536) as usize;
            syslog.options.idle = self.duration();
            syslog.options.framing = self.of(&[Framing::Auto, Framing::Newline, Framing::OctetCounted]);
        } else if syslog.address().is_some() {
            syslog.trust_network = self.yes();
        }
        syslog
    }
}

/// What is printed is what is in effect.
#[test]
fn printed_and_read_again_it_is_the_same() {
    kit::property("printed-config", 500, |random| {
        let config = Random(random).config();
        let text = config.to_toml();
        match parse(&text) {
            Ok(again) => assert_eq!(again, config, "{text}"),
            Err(error) => panic!("{error}\n{text}"),
        }
    });
}
