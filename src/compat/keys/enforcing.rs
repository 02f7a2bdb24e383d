//! Where is denied: `HOSTS_DENY`, `BLOCK_SERVICE`, `IPTABLES`, `PF_TABLE` and what belongs to them.

use std::path::Path;

use super::Draft;
use crate::compat::conf::Setting;
use crate::compat::{Kind, absolute};
use crate::text::quoted;

/// Where a program without a path is looked for, as a shell did.
const DIRECTORIES: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// As many ports as `ports` takes.
const PORTS_MAX: usize = 15;

impl Draft<'_> {
    /// Where denies are enforced.
    pub(super) fn back_ends(&mut self) {
        match self.value("HOSTS_DENY") {
            Some(setting) => {
                let path = absolute(&setting.value, self.world);
                self.set("[deny.hosts_deny]", "path", quoted(&path.to_string_lossy()), "HOSTS_DENY");
            }
            None => self.absent("HOSTS_DENY", "/etc/hosts.deny is written; DenyHosts would not have started"),
        }
        if let Some(setting) = self.get("BLOCK_SERVICE") {
            self.set("[deny.hosts_deny]", "service", quoted(&setting.value), "BLOCK_SERVICE");
        }
        // The comment above an entry is what a purge goes by.
        if self.value("PURGE_DENY").is_none() {
            self.set("[deny.hosts_deny]", "comment", "false".to_owned(), "PURGE_DENY");
        }
        let mut names = vec!["hosts.deny"];
        if let Some(setting) = self.value("IPTABLES")
            && self.is_program(setting, "iptables")
        {
            names.push("iptables");
        }
        let mut from = if names.len() > 1 { "IPTABLES" } else { "HOSTS_DENY" };
        if self.pf() {
            if names.len() > 1 {
                let what = "IPTABLES and PF_TABLE are both set: they are of different systems, and one will not begin";
                self.remark(self.get("PF_TABLE").map_or(0, |setting| setting.line), what.to_owned());
            }
            names.push("pf");
            from = "PF_TABLE";
        }
        let records_only = self.get("BLOCK_SERVICE").is_some_and(|setting| setting.value.is_empty());
        if names.len() == 1 && !records_only && !(self.world.sshd_reads_hosts_deny)() {
            from = "HOSTS_DENY";
            let line = self.get(from).map_or(0, |setting| setting.line);
            match (self.world.firewall)() {
                Some(firewall) => {
                    names.push(firewall);
                    self.remark(line, format!("this machine's sshd does not look into hosts.deny (it is not linked with libwrap), which would refuse nobody; so {firewall} enforces as well"));
                }
                None => self.remark(line, "this machine's sshd does not look into hosts.deny (it is not linked with libwrap), and there is neither nftables nor iptables: NOBODY IS REFUSED; install nftables".to_owned()),
            }
        }
        let has_firewall = names.iter().any(|name| ["nftables", "iptables"].contains(name));
        let names: Vec<String> = names.into_iter().map(quoted).collect();
        self.set("[deny]", "backends", format!("[{}]", names.join(", ")), from);
        let Some(setting) = self.value("BLOCKPORT") else { return self.ports_of_service(has_firewall) };
        let port = |word: &str| word.parse().ok().filter(|port| *port > 0).or_else(|| (self.world.service)(word));
        let ports: Option<Vec<u16>> = setting.value.split(',').map(|word| port(word.trim())).collect();
        match ports.filter(|ports| ports.len() <= PORTS_MAX) {
            Some(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                self.set("[deny]", "ports", format!("[{}]", ports.join(", ")), "BLOCKPORT");
            }
            None => self.remark(
                setting.line,
                format!(
                    "BLOCKPORT = {}: it is no list of {PORTS_MAX} ports at most, as in 22,2222, so a firewall closes all ports to who is denied",
                    setting.value
                ),
            ),
        }
    }

    /// Whether a program is where a key says, and where denyd runs programs from.
    fn is_program(&mut self, setting: &Setting, name: &str) -> bool {
        let (key, value, line) = (&setting.name, &setting.value, setting.line);
        let is_there = (self.world.is_there)(&absolute(value, self.world)) == Some(Kind::File);
        let (is_found, firewall) = ((self.world.has_program)(name), name.trim_end_matches("ctl"));
        match (is_there, is_found) {
            (true, true) => return true,
            (false, _) => {
                self.remark(line, format!("{key} = {value}: there is no such program, and {firewall} is not used"))
            }
            (true, false) => {
                let what = format!(
                    "denyd runs {name} from /usr/sbin, /sbin, /usr/bin or /bin alone, and it is in none of them"
                );
                self.remark(line, format!("{key} = {value}: {what}, so it is not used; make a link to it there"));
            }
        }
        false
    }

    /// What a firewall closes for BLOCK_SERVICE: all for `ALL`, sshd's ports for a service.
    pub(super) fn ports_of_service(&mut self, has_firewall: bool) {
        let service = self.value("BLOCK_SERVICE").filter(|setting| !setting.value.eq_ignore_ascii_case("ALL"));
        let Some(setting) = service.filter(|_| has_firewall) else { return };
        let ports: Vec<String> = (self.world.sshd_ports)().iter().map(u16::to_string).collect();
        if ports.len() > PORTS_MAX {
            let what =
                format!("sshd listens at more than {PORTS_MAX} ports, so a firewall closes all ports to who is denied");
            return self.remark(setting.line, what);
        }
        let ports = ports.join(", ");
        let what = format!(
            "BLOCK_SERVICE = {}: a firewall closes sshd's ports ({ports}) to who is denied, as they are now; BLOCKPORT names others, ALL closes all",
            setting.value
        );
        self.remark(setting.line, what);
        self.set("[deny]", "ports", format!("[{ports}]"), "BLOCK_SERVICE");
    }

    /// Whether pf enforces: into a table of the administrator's, of which others' entries are left alone.
    pub(super) fn pf(&mut self) -> bool {
        let (path, table) = (self.value("PFCTL_PATH"), self.value("PF_TABLE"));
        let (Some(path), Some(table)) = (path, table) else {
            for one in [path, table].into_iter().flatten() {
                self.remark(
                    one.line,
                    format!("{} alone does nothing, as in DenyHosts: pf needs PFCTL_PATH and PF_TABLE", one.name),
                );
            }
            return false;
        };
        if !self.is_program(path, "pfctl") {
            return false;
        }
        self.set("[deny.pf]", "anchor", quoted("none"), "PF_TABLE");
        self.set("[deny.pf]", "table", quoted(&table.value), "PF_TABLE");
        true
    }

    /// The path of a program: one that has no slash is looked for.
    pub(super) fn program(&self, word: &str) -> Option<String> {
        if word.contains('/') {
            return Some(absolute(word, self.world).to_string_lossy().into_owned());
        }
        let paths = DIRECTORIES.iter().map(|directory| Path::new(directory).join(word));
        let found = paths.into_iter().find(|path| (self.world.is_there)(path) == Some(Kind::File));
        found.map(|path| path.to_string_lossy().into_owned())
    }
}
