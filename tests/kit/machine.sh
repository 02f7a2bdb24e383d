# A machine that systemd boots within namespaces: sourced by booted.sh and by world/systemd.sh, and told to the shells that
# these start. Whoever calls has mount, PID and cgroup namespaces of its own.
#
# The machine's root is a copy-on-write layer over this one's. What reaches beyond the namespaces is closed: /proc/sys,
# sysrq and /sys are read-only, and who could set the clock or load a module cannot. Packages: systemd util-linux

# machine_root LAYER DIR...: mounts LAYER/root, over LAYER/upper and LAYER/work, with /proc, /sys and /dev of its own; /run, /tmp
# and each DIR are empty.
machine_root() {
    local layer=$1 root=$1/root name
    shift
    mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$root"
    mount -t proc proc "$root/proc"
    for name in sys sysrq-trigger; do
        [ -e "$root/proc/$name" ] || continue
        mount --bind "$root/proc/$name" "$root/proc/$name"
        mount -o remount,bind,ro "$root/proc/$name"
    done
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 none "$root/sys/fs/cgroup"
    for name in run tmp dev "$@"; do mount -t tmpfs -o mode=755 tmpfs "$root/$name"; done
    chmod 1777 "$root/tmp"
    for name in null zero full random urandom tty; do cp -a "/dev/$name" "$root/dev/$name"; done
    mkdir "$root/dev/pts" "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs tmpfs "$root/dev/shm"
}

# machine_first ROOT: before its first boot. Nothing of this machine is enabled, and the parts of systemd that deal with the
# machine itself are masked.
machine_first() {
    local root=$1 units=$1/etc/systemd/system unit
    rm -rf "$units"/*.wants "$units"/*.requires "$root"/etc/rc?.d "$root/etc/init.d" "$root/var/log/journal"
    rm -f "$root/etc/resolv.conf"
    : >"$root/etc/fstab"
    mkdir -p "$root/var/log/journal"
    for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
        systemd-udevd-kernel.socket systemd-logind.service getty.target systemd-remount-fs.service \
        systemd-hwdb-update.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
        systemd-machine-id-commit.service systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service \
        systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-firstboot.service dev-hugepages.mount \
        dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
        sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount tmp.mount; do
        ln -sf /dev/null "$units/$unit"
    done
    chroot "$root" ssh-keygen -A >/dev/null
}

# machine_boot ROOT CONTAINER OPTION...: becomes systemd, process 1 of it.
machine_boot() {
    local caps=-sys_time,-sys_module,-sys_rawio,-sys_boot container=$2
    cd "$1"
    shift 2
    mount --move . /
    exec setpriv --bounding-set "$caps" --inh-caps "$caps" chroot . /usr/bin/env -i container="$container" \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target --show-status=no "$@"
}

export -f machine_root machine_first machine_boot
