# Sourced by the scripts of this folder, which run as root of a machine that systemd booted (tests/kit/booted.sh).
set -eu

# until SECONDS COMMAND...: waits for a condition.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "not in time: $*" >&2; journalctl -u denyd --no-pager -n 30 >&2; exit 1; }
        sleep 0.02
    done
}

# check NAME COMMAND...
check() {
    local name=$1
    shift
    if "$@" >/tmp/said 2>&1; then echo "ok   $name"; else echo "FAIL $name"; cat /tmp/said; journalctl -u denyd --no-pager -n 30; exit 1; fi
}

install_denyd() {
    install -m 755 /scratch/denyd /usr/bin/denyd
    install -D -m 644 /scratch/systemd/denyd.sysusers /usr/lib/sysusers.d/denyd.conf
    install -m 644 /scratch/systemd/denyd.service /etc/systemd/system/denyd.service
    systemd-sysusers
    mkdir -p /etc/denyd
    systemctl daemon-reload
    systemctl -q enable denyd ssh
}

# login ADDRESS PASSWORD [COMMAND]: one login of root, or of LOGIN, from the other machine; its exit status is ssh's.
login() {
    ip netns exec attacker sshpass -p "$2" ssh -F /dev/null -b "$1" -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 \
        -o ConnectTimeout=2 "${LOGIN-root}@203.0.113.1" "${3-true}"
}

is_denied() { nft list table inet denyd | grep -qF "$1"; }

# Lets root log in with a password, `secret`; PAM does not wait after one that is wrong.
let_root_in() {
    echo root:secret | chpasswd
    sed -i 's/pam_unix.so nullok$/pam_unix.so nullok nodelay/' /etc/pam.d/common-auth
    echo 'PermitRootLogin yes' >/etc/ssh/sshd_config.d/root.conf
    systemctl restart ssh
}

# Sees that 203.0.113.10 is denied for two wrong passwords of root.
fail_as_root() {
    let_root_in
    for _ in 1 2; do if login 203.0.113.10 wrong; then exit 1; fi; done
    until_true 60 is_denied 203.0.113.10
}
