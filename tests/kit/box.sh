#!/bin/bash
# box.sh STATEDIR COMMAND...: runs COMMAND as the first process of a machine of its own: private mounts, host name and
# processes. /etc is an overlay in memory; /run, /var/log and /dev are empty; STATEDIR must be an empty directory.
# When COMMAND ends everything in it ends, and nothing is left. Root only. Packages: util-linux
set -e
state=$(realpath "$1")
shift
exec unshare --mount --uts --pid --fork --kill-child --mount-proc --propagation private bash -c '
set -e
state=$1; shift
mount -t tmpfs tmpfs "$state"
mkdir "$state"/{upper,work,dev}
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$state/upper,workdir=$state/work" /etc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
mount -t tmpfs -o mode=755 tmpfs /var/log
mount -t tmpfs -o mode=755,nosuid tmpfs "$state/dev"
for n in null zero full random urandom tty; do cp -a "/dev/$n" "$state/dev/$n"; done
ln -s /proc/self/fd "$state/dev/fd"
ln -s /run/systemd/journal/dev-log "$state/dev/log"
mount --move "$state/dev" /dev
mount -t cgroup2 -o ro none /sys/fs/cgroup
hostname tbhost
exec "$@"' box "$state" "$@"
