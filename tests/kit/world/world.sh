# A server called tbhost, an attacker and a good admin on one wire, which are gone when this script ends.
#
# Run as process 1 of new namespaces: unshare --mount --pid --net --uts --ipc --fork --kill-child --mount-proc
# --propagation private bash -c SCRIPT. What it mounts and makes is in those namespaces alone, so that it goes with
# their last process, whatever ended it. It ends when its standard input does, or after five minutes.
#
#   tbhost  203.0.113.1    2001:db8::1    this namespace, in which sshd, rsyslogd and denyd run
#   att     203.0.113.10   2001:db8::10   and every address of 198.51.100.0/24, 10.66.0.0/16 and 2001:db8:66::/48
#   att2    203.0.113.200  2001:db8::200
#
# What is private stands in ../sandbox.sh, which comes before this.
# Accounts: tbuser (password Tb-Right-1) and root (Tb-Root-1), both without PAM's 2 s after a failure.
rm -rf /etc/denyd /var/lib/denyd

# Both ends of each pair of interfaces are born inside their namespaces. Without duplicate address detection IPv6 is
# usable at once; with it bind() fails for 1-2 s.
quiet() { sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0; }
for n in att att2 wire; do ip netns add $n; ip -n $n link set lo up; done
ip link set lo up
quiet
ip -n wire link add br0 type bridge
ip -n wire link set br0 up
ip -n wire link add p-srv type veth peer name eth0 netns $$
ip -n wire link set p-srv master br0 up
for n in att att2; do
  ip netns exec $n bash -c "$(declare -f quiet); quiet"
  ip -n wire link add p-$n type veth peer name eth0 netns $n
  ip -n wire link set p-$n master br0 up
  ip -n $n link set eth0 up
done
ip link set eth0 up
ip addr add 203.0.113.1/24 dev eth0
ip addr add 2001:db8::1/64 dev eth0 nodad
ip -n att addr add 203.0.113.10/24 dev eth0
ip -n att addr add 2001:db8::10/64 dev eth0 nodad
ip -n att2 addr add 203.0.113.200/24 dev eth0
ip -n att2 addr add 2001:db8::200/64 dev eth0 nodad
# Any address of a whole prefix without adding each (AnyIP), and the way back on the server.
for prefix in 198.51.100.0/24 10.66.0.0/16 2001:db8:66::/48; do
  via=203.0.113.10
  case $prefix in *:*) via=2001:db8::10 ;; esac
  ip -n att route add local $prefix dev lo
  ip route add $prefix via $via
done
ip netns exec att sysctl -qw net.ipv6.ip_nonlocal_bind=1 # IPv6 only: else bind() says EADDRNOTAVAIL

mkdir -p /etc/ssh
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/e2e_key
useradd -M -d /tmp -s /bin/sh tbuser
printf 'tbuser:Tb-Right-1\nroot:Tb-Root-1\n' | chpasswd
sed -i 's/pam_unix.so nullok/pam_unix.so nullok nodelay/' /etc/pam.d/common-auth
cat > /etc/ssh/e2e_config <<'END'
HostKey /etc/ssh/e2e_key
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 500
UseDNS no
PidFile none
StrictModes no
END

echo ready
read -r -t 300 || true

# A machine that was booted within (systemd.sh) has cgroups, which outlast processes and namespaces.
if [ -e /run/world/cgroup.name ]; then
  cgroup=$(cat /run/world/cgroup.name)
  until processes=$(find "$cgroup" -name cgroup.procs -exec cat {} +) && [ -z "$processes" ]; do
    kill -9 $processes 2>/dev/null || true
    sleep 0.01
  done
  find "$cgroup" -depth -type d -exec rmdir {} +
fi
