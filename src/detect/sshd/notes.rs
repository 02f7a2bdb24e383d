//! What sshd says that is about no peer, or carries neither an address nor an attempt: its own
//! troubles, keys, channels.
//!
//! A message of these is recognised, and nothing was tried. It is asked for last, of what has no other shape.

/// Whether a message is one of these; `is_trouble`: it began with `error: ` or `fatal: `, which are sshd's own words.
/// What tells of a peer names it behind ` from `: such a message stays unknown, so that somebody notices.
pub(super) fn is_note(message: &[u8], is_trouble: bool) -> bool {
    is_listed(message)
        || is_of_function(message)
        || message.ends_with(b" is not a regular file")
        || is_count(message)
        || is_trouble && memchr::memmem::find(message, b" from ").is_none()
}

/// Whether a message begins with the name of a function of OpenSSH's: `mm_answer_pty_cleanup: …`. Such a message is
/// about sshd's own troubles, but for those of `sshpkt_vfatal`.
fn is_of_function(message: &[u8]) -> bool {
    let name = message.iter().take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || **b == b'_').count();
    message[..name].contains(&b'_') && message[name..].starts_with(b": ")
}

/// `N active startups`, `N active ipv4 penalties`: what sshd tells of itself when it is asked by
/// SIGINFO (9.8 and later).
fn is_count(message: &[u8]) -> bool {
    let digits = message.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && message[digits..].starts_with(b" active ")
}

/// Whether a message begins as one of [`NOTES`]: only the last of them that does not lie behind it can.
fn is_listed(message: &[u8]) -> bool {
    let behind = NOTES.partition_point(|note| *note <= message);
    behind > 0 && message.starts_with(NOTES[behind - 1])
}

/// Beginnings of such messages: sorted, and none begins another.
const NOTES: &[&[u8]] = &[
    b"(pam_",
    b"-r option ",
    b"/",
    b"AFS ",
    b"Aborted Duo login ",
    b"Access denied for user ",
    b"Account ",
    b"Allocated",
    b"Attempt to write login records by non-root user",
    b"Authenticated with partial success",
    b"Authentication key ",
    b"Authentication methods list ",
    b"Authentication refused",
    b"Authentication rejected",
    b"Authorized to ",
    b"BSM audit: ",
    b"Bad options in ",
    b"Bad packet length ",
    b"Badly formed OID",
    b"Bind to port ",
    b"Can't ",
    b"Cannot ",
    b"Certificate ",
    b"Changed root directory",
    b"Child ",
    b"Client on ",
    b"Client protocol ",
    b"Client version ",
    b"Closing connection to ",
    b"Command terminated on ",
    b"Connection closed by remote host",
    b"Connection reset by peer",
    b"Corrupted ",
    b"Could not",
    b"Couldn't ",
    b"DEAD_PROCESS: ",
    b"DNS lookup error: ",
    b"Deprecated ",
    b"Disabling ",
    b"Disconnecting: ",
    b"Enabling compatibility mode ",
    b"Entering interactive session",
    b"Error parsing fingerprint ",
    b"Excess permission ",
    b"Exiting on signal",
    b"FIPS mode ",
    b"Failed Duo login ",
    b"Failed to ",
    b"Failsafe Duo login ",
    b"Faking authloop ",
    b"Finished discarding",
    b"Forked child ",
    b"Found matching ",
    b"GSSAPI MIC check failed",
    b"Generating ",
    b"Getting tty modes ",
    b"Hm, ",
    b"Host ",
    b"Ignoring ",
    b"Kerberos ",
    b"Key ",
    b"Keyboard-interactive (PAM) ",
    b"Last message '",
    b"Login name ",
    b"MaxStartups logging rate-limited",
    b"Maxstartups logging rate-limited",
    b"Mechanism OID ",
    b"Missing ",
    b"Nasty PTR ",
    b"No supported ",
    b"Non-public channel ",
    b"PAM",
    b"Packet corrupt",
    b"Password authentication disabled",
    b"Password can't ",
    b"PerSourcePenalties logging rate-limited",
    b"Please ",
    b"Protocol error",
    b"Protocol major versions differ",
    b"Public key ",
    b"RESTART FAILED",
    b"RSA authentication disabled",
    b"RSA key generation complete",
    b"Random seed file ",
    b"Read error from remote host: ",
    b"Read from socket failed",
    b"Received SIG",
    b"Received request to ",
    b"Received signal ",
    b"Received window adjust ",
    b"Refused ",
    b"Refusing ",
    b"Rejected X11 ",
    b"Remote version ",
    b"Remote: ",
    b"Requested forwarding ",
    b"Restarting",
    b"Rhosts ",
    b"Root login accepted ",
    b"Server has been configured",
    b"Server listening on ",
    b"Session ",
    b"Set ",
    b"Setting ",
    b"Signature ",
    b"Skipped ",
    b"Subsystem ",
    b"Successful Duo login ",
    b"Timeout, client not responding.",
    b"Timeout, your session ",
    b"Transferred: ",
    b"USER_PROCESS: ",
    b"Unable to load host key",
    b"Unable to negotiate a ",
    b"Unable to shield ",
    b"Unknown message during authentication",
    b"Unknown packet type ",
    b"Unsupported option",
    b"User child is on pid ",
    b"User/password ssh access",
    b"WARNING: ",
    b"Warning: ",
    b"Write failed: ",
    b"Writing login record ",
    b"Wrong ",
    b"X11 connection rejected",
    b"accept from auth socket",
    b"auth: protocol error",
    b"bad ",
    b"beginning MaxStartups throttling",
    b"buffer_get_",
    b"chan_",
    b"channel ",
    b"check pass; ",
    b"child ",
    b"chroot",
    b"client ",
    b"connect_to ",
    b"crc32 compensation attack",
    b"debug",
    b"dispatch_protocol_error",
    b"do_cleanup",
    b"error reading ",
    b"error writing ",
    b"exited MaxStartups throttling",
    b"failed to write ",
    b"fchmod(): ",
    b"fork of unprivileged child failed",
    b"get_socket_address",
    b"gss_krb5",
    b"ignoring bad proto ",
    b"in ",
    b"incoming seqnr ",
    b"invalid or short read ",
    b"invalid public DH ",
    b"kex protocol error: ",
    b"kex_",
    b"key_",
    b"krb5_",
    b"last message repeated ",
    b"lastlog_",
    b"libsldap: ",
    b"mkstemp",
    b"mm_",
    b"monitor_",
    b"negativ!",
    b"no hostkey alg",
    b"no kex alg",
    b"no matching ",
    b"non-transport message",
    b"outgoing seqnr ",
    b"padding error",
    b"pam_",
    b"password change not ",
    b"protocol error: ",
    b"rcvd ",
    b"refused local port forward: ",
    b"refused streamlocal port forward: ",
    b"refusing ",
    b"reprocess config ",
    b"rexec ",
    b"service(",
    b"session closed for ",
    b"session opened for ",
    b"session process ",
    b"session_",
    b"setsockopt ",
    b"socket ",
    b"socket: ",
    b"ssh_krb5",
    b"sshd: ",
    b"sshpam_",
    b"subsystem",
    b"syslogin_",
    b"tcgetattr",
    b"twist ",
    b"unable to lock memory",
    b"unexpected ",
    b"userauth_",
    b"wait returned ",
    b"wait: ",
    b"warning: ",
    b"wrong user name passed ",
    b"xauth ",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_can_be_searched() {
        for two in NOTES.windows(2) {
            assert!(two[0] < two[1] && !two[1].starts_with(two[0]), "{}", two[1].escape_ascii());
        }
    }
}
