# The rpm: that its scriptlets keep to what those of the Debian package do. Only rpm itself is here, and no system of rpms.
. /scratch/booted/common.sh
rm -f /usr/bin/denyd
rm -rf /etc/denyd /var/lib/denyd
mkdir -p /usr/lib/systemd/system-preset
echo 'enable denyd.service' >/usr/lib/systemd/system-preset/10-denyd.preset
running() { systemctl show denyd -p MainPID --value; }
with_rpm() { rpm --nodeps "$@"; }

check "it is installed" with_rpm --install /scratch/denyd-*-1.*.rpm
check "its user is there" getent passwd denyd
check "the preset is obeyed, and no more" sh -c 'systemctl is-enabled denyd && ! systemctl is-active denyd'
check "it starts" systemctl start denyd
systemctl start ssh
fail_as_root
check "two wrong passwords of root are denied" is_denied 203.0.113.10
main=$(running)
check "DenyHosts' names are its own" sh -c "/usr/sbin/daemon-control status | grep 'DenyHosts is running with pid = $main'"

echo '# mine' >>/etc/denyd/denyd.toml
systemctl disable -q denyd
check "another version takes its place" with_rpm --upgrade /scratch/denyd-*-2.*.rpm
check "which runs" systemctl is-active denyd
check "and is another process" test "$(running)" != "$main"
check "an administrator who disabled it is obeyed" sh -c '! systemctl is-enabled denyd'
check "the configuration is as it was left" grep -q '^# mine' /etc/denyd/denyd.toml
check "the deny stands" denyd why 203.0.113.10
main=$(running)
check "and the version before again" with_rpm --upgrade --oldpackage /scratch/denyd-*-1.*.rpm
check "which is another process" test "$(running)" != "$main"

check "it is removed" with_rpm --erase denyd
check "it is gone" sh -c '! test -e /usr/bin/denyd && ! systemctl is-active denyd'
check "the deny stands in the kernel" is_denied 203.0.113.10
check "the configuration is kept" grep -q '^# mine' /etc/denyd/denyd.toml.rpmsave
