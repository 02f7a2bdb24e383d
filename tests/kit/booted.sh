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
# /proc/sys, /sys and sysrq are read-only inside. Root only. Packages: systemd openssh-server nftables iproute2 util-linux
set -eu
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
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/layer/upper,workdir=$scratch/layer/work" "$root"
mount -t proc proc "$root/proc"
for file in sys sysrq-trigger; do
    [ -e "$root/proc/$file" ] || continue
    mount --bind "$root/proc/$file" "$root/proc/$file"; mount -o remount,bind,ro "$root/proc/$file"
done
mount -t sysfs -o ro sysfs "$root/sys"; mount -t cgroup2 none "$root/sys/fs/cgroup"
for dir in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$dir"; done
for node in null zero full random urandom tty; do cp -a /dev/$node "$root/dev/$node"; done
mkdir "$root/dev/pts" "$root/dev/shm"; ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"; mount -t tmpfs tmpfs "$root/dev/shm"
mkdir -p "$root/scratch" "$root/run/netns"; mount --bind "$scratch" "$root/scratch"
touch "$root/run/netns/attacker"; mount --bind /run/netns/attacker "$root/run/netns/attacker"
units=$root/etc/systemd/system
if [ "$BOOT" = 1 ]; then
    # Nothing of the machine is enabled, and the parts of systemd that deal with the machine itself are masked.
    rm -rf "$units"/*.wants "$units"/*.requires "$root"/etc/rc?.d "$root/etc/init.d" "$root/var/log/journal"
    : >"$root/etc/fstab"; rm -f "$root/etc/resolv.conf"; echo booted >"$root/etc/hostname"
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
    mkdir -p "$root/var/log/journal"
    for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
        systemd-udevd-kernel.socket getty.target systemd-remount-fs.service systemd-hwdb-update.service \
        systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-machine-id-commit.service \
        systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service systemd-pcrphase.service \
        systemd-pcrphase-sysinit.service systemd-firstboot.service dev-hugepages.mount dev-mqueue.mount \
        sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
        proc-sys-fs-binfmt_misc.automount tmp.mount systemd-logind.service; do
        ln -sf /dev/null "$units/$unit"
    done
    chroot "$root" ssh-keygen -A >/dev/null
fi
hostname booted
cd "$root"; mount --move . /
exec setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-sys_boot --inh-caps -sys_time,-sys_module,-sys_rawio,-sys_boot \
    chroot . /usr/bin/env -i container=denyd PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-target=null'

# In a cgroup of its own before it starts, or its slices would come up in this machine's root cgroup.
exec 3>&1
code=0
bash -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' bash "$group" \
    unshare --fork --kill-child=KILL --pid --mount --mount-proc --net --propagation private \
    bash -c "mount -t tmpfs tmpfs /run/netns 2>/dev/null || { mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; }
$inside" inside "$scratch" "$@" || code=$?
exit $code
