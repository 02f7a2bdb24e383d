#!/usr/bin/env python3
"""Whom DenyHosts 3.1.2 denies by a log: usage: tests/denyhosts_oracle.py LOG THRESHOLDS...

LOG is a file of sshd's lines, plain or compressed by gzip; each THRESHOLDS is INVALID,VALID,ROOT,RESTRICTED. It prints a
JSON object: for each THRESHOLDS the addresses, sorted. `--restricted NAME,NAME` names restricted users.

It is written from a description of what DenyHosts does (which text it looks for, how it counts, when it denies), and
shares nothing with denyd: what both say is then no copy of one mistake. One pass over the log, no AGE_RESET_*, no
RESET_ON_SUCCESS, PURGE_DENY blank.
"""

import gzip
import ipaddress
import json
import re
import sys
from collections import Counter

IPV4 = r"(?:::ffff:)?(?P<host>\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})"

# After the last ` sshd` of the line up to the first colon, or `[sshd]`; the rest is the message.
FORMAT = re.compile(r".* (?:\[sshd\]|sshd[^:]*:) (?P<message>.*)")

# In their order: the first that is found anywhere in the message counts.
FAILURES = [
    re.compile(pattern)
    for pattern in (
        r"Failed \S* for (?P<invalid>invalid user |illegal user )?(?P<user>.*) from " + IPV4 + r"(?: port \d+)?(?: ssh2)?$",
        r"(?P<invalid>Illegal|Invalid) user (?P<user>.*) from " + IPV4 + r"[ port\d]*$",
        r"Authentication failure for (?P<user>.*) .*from " + IPV4,
        r"Authentication failure for (?P<user>.*) .*from (?P<host>.*)",
        r"User (?P<user>.*) .*from (?P<host>.*) not allowed because none of user's groups are listed in AllowGroups$",
        r"Did not receive identification string .*from " + IPV4,
        r"User (?P<user>.*) .*from " + IPV4 + r" not allowed because not listed in AllowUsers",
        r"authentication error for (?P<user>.*) .*from (?P<host>.*)",
        r"Connection closed by " + IPV4 + r"(?: port \d+)? \[preauth\]",
    )
]


def failure(line):
    """The address, the user and whether it is invalid, of a line that is a failure to DenyHosts; else None."""
    framed = FORMAT.match(line)
    if not framed:
        return None
    for pattern in FAILURES:
        found = pattern.search(framed["message"])
        if not found:
            continue
        groups = found.groupdict()
        # A pattern without such a group is always about an invalid user.
        invalid = bool(groups["invalid"]) if "invalid" in groups else True
        return groups["host"], groups.get("user") or "", invalid
    return None


def counts_of(lines, restricted):
    """For each class, how often each address failed."""
    counts = {name: Counter() for name in ("invalid", "valid", "root", "restricted")}
    for line in lines:
        found = failure(line.rstrip("\n"))
        if not found:
            continue
        host, user, invalid = found
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            continue  # DenyHosts itself would end here.
        special = (address.is_reserved, address.is_private, address.is_loopback, address.is_unspecified,
                   address.is_multicast, address.is_link_local)
        if any(special):
            continue
        if user in restricted:
            counts["restricted"][host] += 1
        if invalid:
            counts["invalid"][host] += 1
        elif user == "root":
            counts["root"][host] += 1
        elif user in restricted:
            counts["restricted"][host] += 1  # Once more: so it is.
        else:
            counts["valid"][host] += 1
    return counts


def main(arguments):
    restricted = set()
    if arguments and arguments[0] == "--restricted":
        restricted, arguments = set(arguments[1].split(",")), arguments[2:]
    if len(arguments) < 2:
        sys.exit(__doc__)
    opened = gzip.open if arguments[0].endswith(".gz") else open
    with opened(arguments[0], "rt", encoding="utf-8", errors="replace") as log:
        counts = counts_of(log, restricted)
    denied = {}
    for thresholds in arguments[1:]:
        limits = dict(zip(("invalid", "valid", "root", "restricted"), map(int, thresholds.split(","))))
        over = (host for name, limit in limits.items() for host, count in counts[name].items() if count > limit)
        denied[thresholds] = sorted(set(over))
    json.dump(denied, sys.stdout, indent=0)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
