//! What a message says was tried, before anyone counts it.

use super::address::Peer;

/// What one line of a service says. Whether it adds an attempt depends on its connection's other lines:
/// that is for [`decide::session`](crate::decide::session) to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A password that the server judged and refused.
    Tried,
    /// The same, of an answer to a prompt: by keyboard-interactive.
    Answered,
    /// PAM's account of such an answer, written by sshd itself beside or instead of [`Kind::Answered`], never beside
    /// [`Kind::Tried`].
    PamTried,
    /// A login was begun that cannot succeed any more, or ended without one: worth one attempt
    /// unless tries of this connection were counted.
    Begun,
    /// What cannot be guessed was refused (a key, a host key, a ticket), or `none`: worth one attempt only if the
    /// connection ends without a success.
    Offered,
    /// A login succeeded.
    Accepted,
    /// A connection ended, or was ended, without a login begun.
    Probe,
    /// sshd gave up on a connection that another of its processes held: `of_pid` names it.
    Timeout,
    /// The server would not talk to the address at all: MaxStartups, its penalties, libwrap.
    Refused,
    /// A PAM module's own account of a failure. Counts only where sshd itself says nothing.
    Pam,
    /// A connection was opened: lines of it that carry no address have this one.
    Opened,
    /// Adds nothing by itself; its address and port tell which connection it belongs to.
    Note,
    /// A message of the service that no known shape fits.
    Unknown,
}

/// What the line says about the account, not what is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Account {
    /// It exists.
    Known,
    /// It does not: only `Invalid user U from` says so.
    Unknown,
    /// Not said. `Failed … for invalid user U` is also printed for accounts that exist and may not log in.
    #[default]
    Unsaid,
}

/// What one line says.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// Who it was.
    pub peer: Peer<'a>,
    /// The peer's port.
    pub port: Option<u16>,
    /// The user's name as the log prints it, escapes left as they are. Attacker's text.
    pub user: Option<&'a [u8]>,
    /// What the line says about the account.
    pub account: Account,
    /// How often it happened: more than 1 where the syslog daemon folded repeats.
    pub times: u32,
    /// The process that held the connection, where the line is another process'.
    pub of_pid: Option<u32>,
    /// Which shape it was: `sshd.failed`, or the name of `custom`.
    pub rule: &'a str,
    /// Who may write so, where the kernel tells a uid, if an administrator's rule knew it and no built-in shape did.
    pub rule_uids: Option<&'a [u32]>,
    /// Strangers may have made it up, whoever wrote the record: by such a rule.
    pub forgeable: bool,
}

impl<'a> Event<'a> {
    /// Whether an administrator's rule knew it.
    pub fn is_by_rule(&self) -> bool {
        self.rule_uids.is_some()
    }

    /// An event of a shape, with nothing known about the peer.
    pub fn new(kind: Kind, rule: &'a str) -> Self {
        Event {
            kind,
            peer: Peer::Unsaid,
            port: None,
            user: None,
            account: Account::Unsaid,
            times: 1,
            of_pid: None,
            rule,
            rule_uids: None,
            forgeable: false,
        }
    }

    /// Whether it ends a session, if its connection is one.
    pub fn ends_session(&self) -> bool {
        const ENDS: [&str; 6] = [
            "sshd.session_closed",
            "sshd.received_disconnect",
            "sshd.disconnected",
            "sshd.closed",
            "sshd.timed_out",
            "dropbear.exit",
        ];
        matches!(self.kind, Kind::Note | Kind::Probe) && ENDS.contains(&self.rule)
    }

    /// Whether it could move a counter or clear one: what only a trusted writer may do.
    pub fn changes_something(&self) -> bool {
        !matches!(self.kind, Kind::Opened | Kind::Note | Kind::Unknown)
    }

    /// Whether the writer's uid, which the kernel tells, is that of one who may write so.
    pub fn may_be_by(&self, uid: u32) -> bool {
        self.rule_uids.map_or(uid == 0, |uids| uids.contains(&uid))
    }

    /// The same, from an address and port.
    pub fn from(self, (peer, port): (Peer<'a>, Option<u16>)) -> Self {
        Event { peer, port, ..self }
    }

    /// The same, by a user.
    pub fn by(self, user: &'a [u8], account: Account) -> Self {
        Event { user: Some(user), account, ..self }
    }
}
