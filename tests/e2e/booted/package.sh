# The package, from its installation to its purge, while somebody who is denied tries.
. /scratch/booted/common.sh
rm -f /usr/sbin/policy-rc.d /usr/bin/denyd
rm -rf /etc/denyd /var/lib/denyd
# What is there of denyd, by name or by owner. The machine below this one may have some of its own.
traces() { find /etc /usr /var /run \( -path /run/netns -o -path /var/tmp \) -prune -o \( -name '*denyd*' -o -name '*denyhosts*' -o -name daemon-control -o -nouser -o -nogroup \) -print | sort; }
traces >/tmp/before
cp /etc/hosts.deny /tmp/hosts.deny
systemctl start ssh

check "it is installed" dpkg -i /scratch/denyd_*-1_*.deb
check "it runs, and at the next boot too" sh -c 'systemctl is-active denyd && systemctl is-enabled denyd'
check "as its own user, who may read the journal" sh -c 'systemctl show denyd -p MainPID --value | xargs -I @ grep "^Uid:.$(id -u denyd)" /proc/@/status'
check "nothing is wrong with it" denyd check
check "its manual pages are there" sh -c 'man -w denyd && man -w denyd-why && man -w denyd.toml'
check "bash completes its commands" bash -c '. /usr/share/bash-completion/completions/denyd; complete -p denyd'
fail_as_root
check "two wrong passwords of root are denied" is_denied 203.0.113.10
touch /scratch/denied-now
until_true 60 test -e /scratch/begun

main=$(systemctl show denyd -p MainPID --value)
check "daemon-control sees it" sh -c "daemon-control status | grep 'DenyHosts is running with pid = $main'"
check "denyhosts, as cron runs it, has nothing to do" sh -c 'test -z "$(denyhosts 2>&1)"'
check "it restarts under DenyHosts' name" systemctl restart denyhosts
check "and is another process" test "$(systemctl show denyd -p MainPID --value)" != "$main"
install -D -m 755 /usr/share/doc/denyd/examples/denyhosts.init /etc/init.d/denyhosts
check "the init script has the unit restarted" /etc/init.d/denyhosts restart
check "which runs" systemctl is-active denyhosts
rm /etc/init.d/denyhosts
check "the deny stands all the time" is_denied 203.0.113.10

echo '# mine' >>/etc/denyd/denyd.toml
main=$(systemctl show denyd -p MainPID --value)
check "another version takes its place" dpkg -i --force-confold /scratch/denyd_*-2_*.deb
check "which runs" sh -c "systemctl is-active denyd && test \$(systemctl show denyd -p MainPID --value) != $main"
check "the configuration is as it was left" grep -q '^# mine' /etc/denyd/denyd.toml
check "the deny stands" denyd why 203.0.113.10

check "all that is remembered is copied" denyd backup /root/copy
systemctl stop denyd
check "and put back" denyd restore /root/copy
systemctl start denyd
check "it knows that it is a copy" sh -c 'denyd status | grep "a copy that was taken"'
check "which is its own" test "$(stat -c %U /var/lib/denyd/denyd.db)" = denyd
check "and denies the same" denyd why 203.0.113.10

install -D -m 644 /usr/share/doc/denyd/examples/denyd-root.conf /etc/systemd/system/denyd.service.d/denyd-root.conf
sed -i 's/^#backends = .*/backends = ["nftables", "hosts.deny"]/' /etc/denyd/denyd.toml
systemctl daemon-reload
systemctl restart denyd
until_true 60 grep -qF 203.0.113.10 /etc/hosts.deny
touch /scratch/before-reboot
until_true 60 test -e /scratch/paused

check "it is removed" dpkg -r denyd
check "it is gone" sh -c '! test -e /usr/bin/denyd && ! systemctl is-active denyd'
check "the deny stands in the kernel" is_denied 203.0.113.10
check "and in hosts.deny" grep -qF 203.0.113.10 /etc/hosts.deny
touch /scratch/end
until_true 60 test -e /scratch/ended
check "nobody saw a connection who was denied, nor missed one who was not" /scratch/booted/verdict /scratch/scan

rm -r /etc/systemd/system/denyd.service.d
check "it is purged" dpkg -P denyd
check "the kernel has no table of it" sh -c 'test -z "$(nft list ruleset)"'
check "hosts.deny is as it was" cmp /etc/hosts.deny /tmp/hosts.deny
check "its user and its group are gone" sh -c '! getent passwd denyd && ! getent group denyd'
traces >/tmp/after
check "no file is left of it" diff /tmp/before /tmp/after
check "who was denied is let in" login 203.0.113.10 secret
