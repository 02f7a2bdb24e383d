#!/bin/bash
# box.sh COMMAND...: runs COMMAND as the first process of a machine of its own: see sandbox.sh. When COMMAND ends
# everything in it ends, and nothing is left. Root only. Packages: util-linux
set -eu
here=$(dirname "$(realpath "$0")")
exec unshare --mount --uts --net --pid --fork --kill-child --mount-proc --propagation private bash -c '
. "$0"
mkdir -p /run/systemd/journal /run/log/journal
ln -s /run/systemd/journal/dev-log /dev/log
mount -t cgroup2 -o ro none /sys/fs/cgroup
exec "$@"' "$here/sandbox.sh" "$@"
