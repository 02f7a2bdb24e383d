# The package, from its installation to its purge, while somebody who is denied tries.
. /scratch/booted/common.sh
rm -f /usr/sbin/policy-rc.d /usr/bin/denyd
rm -rf /etc/denyd /var/lib/denyd
# What is there of denyd, by name or by owner. The machine below this one may have some of its own.
traces() { find /etc /usr /var /run \( -path /run/netns -o -path /var/tmp -o -path /var/cache/man \) -prune -o \( -name '*denyd*' -o -name '*denyhosts*' -o -name daemon-control -o -nouser -o -nogroup \) -print | sort; }
traces >/tmp/before
cp /etc/hosts.deny /tmp/hosts.deny
systemctl start ssh

# apt COMMAND...: as a user types it; nothing is there to fetch from.
apt() { DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@"; }
# The same, where a file of the configuration was edited.
replace() { apt -o Dpkg::Options::=--force-confold "$@"; }
running() { systemctl show denyd -p MainPID --value; }
# other_runs PID: it is up, and is another process than that.
other_runs() { systemctl is-active denyd && test "$(running)" != "$1"; }
enabled() { systemctl is-enabled denyd; }

# Somebody had DenyHosts, with a configuration of his own; here its package has nothing else.
mkdir -p /tmp/old/DEBIAN /tmp/old/etc /tmp/old/usr/sbin
printf '%s\n' 'Package: denyhosts' 'Version: 2.10-2' 'Architecture: all' 'Maintainer: nobody <nobody@example.org>' 'Description: a stand-in' >/tmp/old/DEBIAN/control
echo /etc/denyhosts.conf >/tmp/old/DEBIAN/conffiles
echo 'DENY_THRESHOLD_ROOT = 1' >/tmp/old/etc/denyhosts.conf
install -m 755 /bin/false /tmp/old/usr/sbin/denyhosts
dpkg-deb --build /tmp/old /tmp/denyhosts.deb >/dev/null
check "DenyHosts is installed" apt install /tmp/denyhosts.deb
echo '# mine' >>/etc/denyhosts.conf

check "it is installed" apt install /scratch/denyd_*-1_*.deb
check "it runs" systemctl is-active denyd
check "and at the next boot too" enabled
check "DenyHosts is gone" sh -c '! dpkg -s denyhosts | grep -q "^Status:.* installed" && test -L /usr/sbin/denyhosts'
check "but for its configuration" grep -q '^# mine' /etc/denyhosts.conf
# Nobody has edited a file of denyd's or of sshd's.
for _ in 1 2 3 4 5; do if LOGIN=nosuchuser login 203.0.113.12 wrong; then exit 1; fi; done
# It is denied as it begins, and hears no answer.
LOGIN=nosuchuser login 203.0.113.12 wrong &
failed() { test "$(journalctl -q -t sshd | grep -c "Invalid user nosuchuser from 203.0.113.12")" = "$1"; }
until_true 60 failed 6
until_true 2 is_denied 203.0.113.12
check "six bad logins are denied within 2 s" denyd forgive 203.0.113.12
check "as its own user, who may read the journal" sh -c 'systemctl show denyd -p MainPID --value | xargs -I @ grep "^Uid:.$(id -u denyd)" /proc/@/status'
check "nothing is wrong with it" denyd check
check "bash completes its commands" bash -c '. /usr/share/bash-completion/completions/denyd; complete -p denyd'
fail_as_root
check "two wrong passwords of root are denied" is_denied 203.0.113.10
touch /scratch/denied-now
until_true 60 test -e /scratch/begun

# By that daemon-control would go.
mv /etc/denyhosts.conf /root/denyhosts.conf
main=$(running)
check "daemon-control sees it" sh -c "daemon-control status | grep 'DenyHosts is running with pid = $main'"
check "denyhosts, as cron runs it, has nothing to do" sh -c 'test -z "$(denyhosts 2>&1)"'
check "it restarts under DenyHosts' name" systemctl restart denyhosts
check "and is another process" other_runs "$main"
install -D -m 755 /usr/share/doc/denyd/examples/denyhosts.init /etc/init.d/denyhosts
check "the init script has the unit restarted" /etc/init.d/denyhosts restart
check "which runs" systemctl is-active denyhosts
rm /etc/init.d/denyhosts
check "the deny stands all the time" is_denied 203.0.113.10

echo '# mine' >>/etc/denyd/denyd.toml
main=$(running)
check "another version takes its place" replace install /scratch/denyd_*-2_*.deb
check "which runs" other_runs "$main"
check "the configuration is as it was left" grep -q '^# mine' /etc/denyd/denyd.toml
check "the deny stands" denyd why 203.0.113.10
check "its manual pages are there" man -w denyd denyd-why denyd.toml denyhosts denyhosts.py daemon-control
check "one is of DenyHosts' name, too" sh -c 'man denyhosts.py | grep -e --purge'
mkdir /etc/ssl/denyd
touch /etc/ssl/denyd/{ca.pem,web1.example.org.pem,web1.example.org.key}
for example in /usr/share/doc/denyd/examples/rsyslog-*.conf; do check "rsyslogd takes $example" rsyslogd -N1 -f "$example"; done
rm -r /etc/ssl/denyd
systemctl disable -q denyd
main=$(running)
check "the version before takes its place again" replace --allow-downgrades install /scratch/denyd_*-1_*.deb
check "an administrator who disabled it is obeyed" sh -c '! systemctl is-enabled denyd'
systemctl enable -q denyd
# That of the commit before may be too old for the database: see below.
tells() { denyd list hosts 2>&1 | grep "was written by a newer denyd"; }
runs_or_tells() { other_runs "$main" || tells; }
check "which runs" runs_or_tells
check "the deny stands in the kernel" is_denied 203.0.113.10
check "and the newer version again" replace install /scratch/denyd_*-2_*.deb
until_true 60 denyd why 203.0.113.10

systemctl stop denyd
# schema NUMBER: which the database says it has.
schema() { /usr/bin/python3 -c 'import sqlite3, sys; db = sqlite3.connect("/var/lib/denyd/denyd.db"); print(*db.execute("PRAGMA user_version").fetchone()); db.execute("PRAGMA user_version = " + sys.argv[1]) if sys.argv[1] else 0' "$1"; }
ours=$(schema 99)
too_old() { replace --allow-downgrades install /scratch/denyd_*-1_*.deb 2>&1 | grep "denyd did not start; see: denyd doctor"; }
check "a version that is too old for its database is installed, and said not to run" too_old
check "why is told" tells
check "the deny stands in the kernel" is_denied 203.0.113.10
check "and the database is as it was" test "$(schema '')" = 99
mv /var/lib/denyd/denyd.db /var/lib/denyd/denyd.db.corrupt-newer
systemctl restart denyd
check "set aside, another begins with what is denied" denyd why 203.0.113.10
check "in the kernel, too" is_denied 203.0.113.10
systemctl stop denyd
mv /var/lib/denyd/denyd.db.corrupt-newer /var/lib/denyd/denyd.db
schema "$ours"
check "the newer version finds all as it was" replace install /scratch/denyd_*-2_*.deb
check "and why" sh -c 'denyd why 203.0.113.10 | grep "Failed password for root"'

check "all that is remembered is copied" denyd backup /root/copy
systemctl stop denyd
check "and put back" denyd restore /root/copy
systemctl start denyd
check "it knows that it is a copy" sh -c 'denyd status | grep "a copy that was taken"'
check "which is its own" test "$(stat -c %U /var/lib/denyd/denyd.db)" = denyd
check "and denies the same" denyd why 203.0.113.10

check "nobody has started a hub" sh -c '! systemctl is-enabled denyd-hub && ! systemctl is-active denyd-hub'
check "who wants one has it" systemctl start denyd-hub
hub() { systemctl show denyd-hub -p MainPID --value; }
main=$(hub)
check "it is started anew with its package" replace --reinstall install /scratch/denyd_*-2_*.deb
check "which is another process" test "$(hub)" -gt 0 -a "$(hub)" != "$main"

install -D -m 644 /usr/share/doc/denyd/examples/denyd-root.conf /etc/systemd/system/denyd.service.d/denyd-root.conf
sed -i 's/^#backends = .*/backends = ["nftables", "hosts.deny"]/' /etc/denyd/denyd.toml
systemctl daemon-reload
systemctl restart denyd
until_true 60 grep -qF 203.0.113.10 /etc/hosts.deny
touch /scratch/before-reboot
until_true 60 test -e /scratch/paused

check "it is removed" apt remove denyd
check "it is gone" sh -c '! test -e /usr/bin/denyd && ! systemctl is-active denyd && ! systemctl is-active denyd-hub'
check "the deny stands in the kernel" is_denied 203.0.113.10
check "and in hosts.deny" grep -qF 203.0.113.10 /etc/hosts.deny
touch /scratch/end
until_true 60 test -e /scratch/ended
check "nobody saw a connection who was denied, nor missed one who was not" /scratch/booted/verdict /scratch/scan

rm -r /etc/systemd/system/denyd.service.d
mv /root/denyhosts.conf /etc/denyhosts.conf
check "it is purged" apt purge denyd
check "DenyHosts' configuration is there still" grep -q '^# mine' /etc/denyhosts.conf
check "until that is purged" apt purge denyhosts
check "the kernel has no table of it" sh -c 'test -z "$(nft list ruleset)"'
check "hosts.deny is as it was" cmp /etc/hosts.deny /tmp/hosts.deny
check "its user and its group are gone" sh -c '! getent passwd denyd && ! getent group denyd'
traces >/tmp/after
check "no file is left of it" diff /tmp/before /tmp/after
check "who was denied is let in" login 203.0.113.10 secret
