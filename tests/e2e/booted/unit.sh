# The unit of the package, as an administrator installs it.
. /scratch/booted/common.sh
install_denyd
let_root_in
rm /etc/systemd/system/systemd-logind.service
systemctl daemon-reload
login 203.0.113.12 secret "sleep 120" &
until_true 60 grep -qrs '^REMOTE_HOST=203.0.113.12' /run/systemd/sessions
check "it starts, and is ready when nftables has its table" systemctl start denyd
check "its table is there" nft list table inet denyd
systemctl start ssh
main=$(systemctl show denyd -p MainPID --value)
check "it is not root" sh -c "! grep -q '^Uid:.0' /proc/$main/status"
check "it has CAP_NET_ADMIN alone" grep -q '^CapEff:.*0000000000001000' "/proc/$main/status"
check "seccomp filters its calls" grep -q '^Seccomp:.*2' "/proc/$main/status"
exposure=$(systemd-analyze --no-pager security denyd 2>/dev/null | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
check "systemd-analyze security says $exposure, which is 2.0 or better" awk "BEGIN { exit !($exposure <= 2.0) }"

fail_as_root
check "two wrong passwords of root are denied, by the journal" is_denied 203.0.113.10
if login 203.0.113.10 secret; then echo "FAIL a denied address is let in"; exit 1; fi
check "somebody else is" login 203.0.113.11 secret
check "who is in the group may look" runuser -u nobody -g denyd -- denyd status
check "and do no more" sh -c '! runuser -u nobody -g denyd -- denyd forgive 203.0.113.10'
check "its warnings have their priority in the journal" sh -c '! journalctl -q -u denyd -p warning --no-pager | grep .'
check "its news too" sh -c 'journalctl -q -u denyd -p info -o export --no-pager | grep -q ^PRIORITY=6'
check "it can see whom sshd serves" nsenter -t "$main" -m setpriv --reuid denyd --regid denyd --clear-groups cat /proc/1/stat
check "doctor knows sshd's settings" sh -c 'denyd doctor | grep "note sshd: OpenSSH_.* is set to port 22"'
check "doctor has nothing to mend" sh -c '! denyd doctor | grep FAIL'
check "check tries all with the rights of the unit" sh -c 'denyd check | grep "ok   tried: as denyd.service runs denyd, as the user denyd"'
check "and has nothing to mend" denyd check

if login 203.0.113.12 wrong || login 203.0.113.12 wrong; then exit 1; fi
until_true 60 sh -c 'denyd status | grep "203.0.113.12"'
check "root, who was logged in before denyd started, mistypes and is not" sh -c '! nft list table inet denyd | grep -F 203.0.113.12'
check "which is told, too" sh -c 'denyd why 203.0.113.12 --json | grep "\"sessions\":.*\"root\""'

echo 'decide.threshold_root = = 1' >/etc/denyd/denyd.toml
check "a reload of a broken configuration fails" sh -c '! systemctl reload denyd'
check "and leaves it running as it was" sh -c 'systemctl is-active denyd && denyd status | grep "holds"'
echo 'decide.threshold_root = 1' >/etc/denyd/denyd.toml
check "one of a good one does not" systemctl reload denyd
check "it is the same process" test "$(systemctl show denyd -p MainPID --value)" = "$main"

mkdir /tmp/sink
python3 /scratch/smtp_sink.py /tmp/sink 25 none &
until_true 60 test -e /tmp/sink/port
echo 'mail = { to = ["root@localhost"], from = "denyd@localhost", first_within = "1s" }' >>/etc/denyd/denyd.toml
check "a reload says to whom mail goes" systemctl reload denyd
for _ in 1 2; do if login 203.0.113.13 wrong; then exit 1; fi; done
until_true 60 test -e /tmp/sink/1.eml
check "and the unit lets mail out" grep -q '^203.0.113.13' /tmp/sink/1.eml

echo 'decide.threshold_root = 2' >/etc/denyd/denyd.toml
check "one is tried" sh -c 'denyd reload --confirm 5m | grep "not kept yet"'
check "and not kept by who was there" sh -c '! denyd keep'
check "but by who logs in anew" login 203.0.113.11 secret "denyd keep"
echo 'decide.threshold_root = 3' >/etc/denyd/denyd.toml
check "the next one is tried" denyd reload --confirm 5m

kill -9 "$main"
restarted() { now=$(systemctl show denyd -p MainPID --value); [ "$now" != 0 ] && [ "$now" != "$main" ]; }
until_true 60 restarted
check "killed, it is started again, and the deny stands" is_denied 203.0.113.10
until_true 60 denyd status
check "with the configuration before the one that nobody kept" sh -c 'denyd status | grep "so the one before holds"'
systemctl stop denyd
check "stopped, the deny stands" is_denied 203.0.113.10
printf '[deny]\nbackends = ["hosts.deny"]\n' >/etc/denyd/denyd.toml
check "check says what the unit may not write" sh -c 'denyd check | grep "FAIL deny by hosts.deny: .*ProtectSystem=strict"'

mkdir -p /etc/systemd/system/denyd.service.d
install -m 644 /scratch/systemd/denyd-root.conf /etc/systemd/system/denyd.service.d/
systemctl daemon-reload
printf '[deny]\nbackends = ["hosts.deny", "iptables"]\n' >/etc/denyd/denyd.toml
check "with denyd-root.conf check has nothing to mend" denyd check
check "it starts" systemctl start denyd
check "and takes the file, which a person now orders" denyd reload
until_true 60 sh -c 'ipset list | grep -F 203.0.113.10'
check "iptables has what is denied" ipset list
until_true 60 grep -F 203.0.113.10 /etc/hosts.deny
check "and hosts.deny has its lines" grep -F 203.0.113.10 /etc/hosts.deny
systemctl stop denyd
update-alternatives --set iptables /usr/sbin/iptables-legacy
update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy
iptables-nft -F
check "with iptables-legacy it starts, too" systemctl start denyd
until_true 60 sh -c 'iptables-legacy-save | grep -- "-j denyd"'
check "and its rule is there" iptables-legacy-save
