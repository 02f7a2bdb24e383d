//! The lines of hosts.allow that admit an address or a network to sshd (hosts_access(5), hosts_options(5)).
//!
//! A firewall asks no hosts.allow: who is admitted there must be on the allow list, or would be shut out one day.

/// What hosts.allow says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// What is admitted without any condition, as entries of an allow list, each with its line.
    pub plain: Vec<(usize, String)>,
    /// What else speaks of such a service: its line, its text, and why it is not taken.
    pub rest: Vec<(usize, String, &'static str)>,
}

/// The widest networks that are taken, by the lengths of their prefixes.
const WIDEST: (u8, u8) = (8, 32);

/// Reads it: the lines for `sshd`, `ALL`, and the service that DenyHosts denied. What another line takes back with `EXCEPT`, or
/// says with an option other than `allow`, is left to people.
pub fn admitted(text: &[u8], service: &str) -> Admitted {
    let mut admitted = Admitted::default();
    for (number, line) in lines(text) {
        let shown = || line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut rest = |why| admitted.rest.push((number, shown(), why));
        let fields = fields(&line);
        let [daemons, clients, options @ ..] = &fields[..] else { continue };
        let ours = ["sshd", "ALL", service].map(str::to_ascii_lowercase);
        let is_ours = |word: &&str| !word.is_empty() && ours.contains(&word.to_ascii_lowercase());
        let words = |text: &&str| text.split([' ', '\t', ',']).map(str::to_owned).collect::<Vec<_>>();
        let (daemons, clients) = (words(daemons), words(clients));
        if !daemons.iter().any(|word| is_ours(&word.as_str())) {
            continue;
        }
        let is_except = |word: &String| word.eq_ignore_ascii_case("EXCEPT");
        if daemons.iter().chain(&clients).any(is_except) {
            rest("it has an EXCEPT");
            continue;
        }
        if !matches!(options.iter().map(|option| option.trim()).collect::<Vec<_>>()[..], [] | ["allow" | "ALLOW"]) {
            rest("it has an option");
            continue;
        }
        for client in clients.iter().filter(|client| !client.is_empty()) {
            match entry(client) {
                Ok(entry) => admitted.plain.push((number, entry)),
                Err(why) => admitted.rest.push((number, shown(), why)),
            }
        }
    }
    admitted.rest.dedup();
    admitted
}

/// The lines, of which a backslash joins one to the next, without comments; each with the number of its first.
fn lines(text: &[u8]) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(String::from_utf8_lossy(text).lines()) {
        let (line, goes_on) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        match all.last_mut().filter(|_| open) {
            Some((_, begun)) => *begun += line,
            None => all.push((number, line.to_owned())),
        }
        open = goes_on;
    }
    all.retain(|(_, line)| !line.trim_start().starts_with('#'));
    all
}

/// The fields of a line: `:` parts them, but not within brackets.
fn fields(line: &str) -> Vec<&str> {
    let (mut fields, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => {
                fields.push(line[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    fields.push(line[begin..].trim());
    fields
}

/// An address or a network as an entry of an allow list: `192.0.2.1`, `192.0.2.`, `192.0.2.0/255.255.255.0`, `[2001:db8::]/64`.
fn entry(client: &str) -> Result<String, &'static str> {
    const NAME: &str = "it has a name, a word or a file, and no address";
    let (address, bits) = match client.strip_suffix('.') {
        // The first numbers of an address.
        Some(begin) => {
            let numbers = begin.split('.').count();
            if numbers > 3 {
                return Err(NAME);
            }
            let full = format!("{begin}{}", ".0".repeat(4 - numbers));
            (full.parse().map_err(|_| NAME)?, Some(8 * numbers as u8))
        }
        None => {
            let (address, length) = match client.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((address, length)) => (address, length.strip_prefix('/')),
                None => client.split_once('/').map_or((client, None), |(address, length)| (address, Some(length))),
            };
            let mask = |length: &str| {
                let mask = length.parse::<std::net::Ipv4Addr>().ok()?.to_bits();
                (mask.leading_ones() == mask.count_ones()).then_some(mask.leading_ones() as u8)
            };
            let bits = length.map(|length| length.parse().ok().or_else(|| mask(length)).ok_or(NAME)).transpose()?;
            (address.parse::<std::net::IpAddr>().map_err(|_| NAME)?, bits)
        }
    };
    let (widest, most) = if address.is_ipv4() { (WIDEST.0, 32) } else { (WIDEST.1, 128) };
    match bits {
        None => Ok(address.to_string()),
        Some(bits) if bits > most => Err(NAME),
        Some(bits) if bits < widest => Err("it is wider than /8 (/32 of IPv6)"),
        Some(bits) => Ok(format!("{address}/{bits}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_lines_are_taken() {
        let check = |text: &str, want: &str| {
            let Admitted { plain, rest } = admitted(text.as_bytes(), "ftpd");
            let plain = plain.iter().map(|(line, entry)| format!("{line} {entry}"));
            let rest = rest.iter().map(|(line, text, why)| format!("{line} [{text}] {why}"));
            assert_eq!(plain.chain(rest).collect::<Vec<_>>().join("|"), want, "{text:?}");
        };
        check("", "");
        check("# sshd: 192.0.2.1\n\nin.telnetd: 192.0.2.1\n", "");
        check(
            "sshd: 192.0.2.1\nALL : 192.0.2.2, 192.0.2.3 : allow\nFTPD:192.0.2.4:ALLOW\n",
            "1 192.0.2.1|2 192.0.2.2|2 192.0.2.3|3 192.0.2.4",
        );
        check("in.telnetd, sshd: 192.0.2.", "1 192.0.2.0/24");
        check("sshd: 10. 192.0.2.0/255.255.255.0 198.51.100.0/25", "1 10.0.0.0/8|1 192.0.2.0/24|1 198.51.100.0/25");
        check("sshd: [2001:db8::1] [2001:db8::]/64", "1 2001:db8::1|1 2001:db8::/64");
        check("sshd: 192.0.2.1 \\\n 192.0.2.2\nsshd: 192.0.2.3", "1 192.0.2.1|1 192.0.2.2|3 192.0.2.3");
        check("sshd: 192.0.2.1 : deny", "1 [sshd: 192.0.2.1 : deny] it has an option");
        check(
            "sshd: 192.0.2.1 : spawn /usr/bin/denyhosts.py & : allow",
            "1 [sshd: 192.0.2.1 : spawn /usr/bin/denyhosts.py & : allow] it has an option",
        );
        check("sshd: ALL EXCEPT /etc/hosts.evil", "1 [sshd: ALL EXCEPT /etc/hosts.evil] it has an EXCEPT");
        check("ALL EXCEPT sshd: 192.0.2.1", "1 [ALL EXCEPT sshd: 192.0.2.1] it has an EXCEPT");
        let name = "it has a name, a word or a file, and no address";
        check("sshd: .example.org 192.0.2.1", &format!("1 192.0.2.1|1 [sshd: .example.org 192.0.2.1] {name}"));
        for word in [
            "ALL",
            "LOCAL",
            "/etc/list",
            "me@192.0.2.1",
            "192.0.2.1/99",
            "192.0.2.0/255.0.255.0",
            "1.2.3.4.",
            "x.",
            "2001:db8::1",
        ] {
            check(
                &format!("sshd: {word}"),
                &match word {
                    // Without brackets its colons begin options.
                    "2001:db8::1" => format!("1 [sshd: {word}] it has an option"),
                    _ => format!("1 [sshd: {word}] {name}"),
                },
            );
        }
        let wide = "it is wider than /8 (/32 of IPv6)";
        check("sshd: 0.0.0.0/0", &format!("1 [sshd: 0.0.0.0/0] {wide}"));
        check("sshd: [2000::]/3", &format!("1 [sshd: [2000::]/3] {wide}"));
    }
}
