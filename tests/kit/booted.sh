#!/bin/bash
# booted.sh SCRATCH COMMAND...: boots systemd as PID 1 of a machine of its own, and runs COMMAND in it; its exit status is
# ours. The machine is a copy-on-write layer, in memory, over this one's root. SCRATCH is /scratch inside. Of the services
# only journald runs. When COMMAND ends, everything in it ends.
#
# `touch /scratch/reboot` in there boots it once more over the same layer, with an empty ruleset, and runs COMMAND again
# with BOOT=2.
#
# A wire leads to another machine, the network namespace `attacker`: 203.0.113.1 and 2001:db8:66::1 are here, 203.0.113.10 to
# .19 and 2001:db8:66::10 there. SCRATCH/outside, if it is there, is started in it before the first boot, with SCRATCH as its
# argument.
#
# machine.sh says what is closed inside. Root only. Packages: systemd openssh-server nftables iproute2 util-linux
set -eu
. "$(dirname "$(realpath "$0")")/machine.sh"
scratch=$(realpath "$1")
shift
here=$(findmnt -n -t cgroup2 -o TARGET | head -1)
[ -n "$here" ] || { echo "no cgroup2 is mounted" >&2; exit 1; }
group=$here/denyd-booted-$$
mkdir "$group"
leave() {
    if [ -e "$group/cgroup.kill" ]; then echo 1 >"$group/cgroup.kill"; fi
    for _ in $(seq 200); do grep -q 'populated 1' "$group/cgroup.events" || break; sleep 0.05; done
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    rmdir "$scratch/layer" 2>/dev/null || true
}
trap leave EXIT
trap 'exit 143' TERM INT
mkdir -p "$scratch/layer"

inside='
set -eu
scratch=$1; shift
mount -t tmpfs tmpfs "$scratch/layer"
mkdir "$scratch/layer/upper" "$scratch/layer/work" "$scratch/layer/root"
ip link set lo up
ip netns add attacker
ip link add wire type veth peer name wire netns attacker
ip addr add 203.0.113.1/24 dev wire; ip -6 addr add 2001:db8:66::1/64 dev wire nodad; ip link set wire up
for n in 10 11 12 13 14 15 16 17 18 19; do ip -n attacker addr add 203.0.113.$n/24 dev wire; done
ip -n attacker -6 addr add 2001:db8:66::10/64 dev wire nodad; ip -n attacker link set wire up; ip -n attacker link set lo up

# A mount namespace and a PID namespace a boot: both go with its PID 1.
boot() {
    unshare --fork --kill-child=KILL --pid --mount --uts --ipc --cgroup --propagation private bash -eu -c "$system" system "$scratch" &
    unshare=$!
    for _ in $(seq 400); do
        pid=$(cat /proc/$unshare/task/$unshare/children 2>/dev/null || true); pid=${pid% }
        if [ -n "$pid" ] && [ "$(cat /proc/$pid/comm)" = systemd ]; then
            case $(within systemctl is-system-running 2>/dev/null) in running | degraded) return;; esac
        fi
        sleep 0.05
    done
    echo "systemd did not come up" >&2; exit 1
}
within() { nsenter -t "$pid" -m -p -u -i -C -r -w "$@"; }
export BOOT=1
if [ -e "$scratch/outside" ]; then ip netns exec attacker "$scratch/outside" "$scratch" >"$scratch/outside.log" 2>&1 & fi
boot
status=0
within "$@" || status=$?
while [ -e "$scratch/reboot" ]; do
    rm "$scratch/reboot"
    kill -KILL "$pid"; wait "$unshare" 2>/dev/null || true
    BOOT=$((BOOT + 1))
    nft flush ruleset
    boot
    status=0
    within "$@" || status=$?
done
exit $status'

export system='
scratch=$1 root=$1/layer/root
machine_root "$scratch/layer"
mkdir -p "$root/scratch" "$root/run/netns"; mount --bind "$scratch" "$root/scratch"
touch "$root/run/netns/attacker"; mount --bind /run/netns/attacker "$root/run/netns/attacker"
if [ "$BOOT" = 1 ]; then
    machine_first "$root"
    echo booted >"$root/etc/hostname"
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
fi
hostname booted
machine_boot "$root" denyd --log-target=null'

# In a cgroup of its own before it starts, or its slices would come up in this machine's root cgroup.
exec 3>&1
code=0
bash -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' bash "$group" \
    unshare --fork --kill-child=KILL --pid --mount --mount-proc --net --propagation private \
    bash -c "mount -t tmpfs tmpfs /run/netns 2>/dev/null || { mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; }
$inside" inside "$scratch" "$@" || code=$?
exit $code
