# Boots the machine's own systemd as process 1 of a machine within the world: bash systemd.sh DENYD.
#
# Its root is an overlay of this machine's, its network the server's. Of the machine's services only ssh and journald
# start, and there is no log but the journal. DENYD is /usr/local/sbin/denyd there. What reaches beyond the namespaces
# is closed: /proc/sys and /sys are read-only, and who could set the clock or load a module cannot.
set -eu
denyd=$1
# In a cgroup of its own before it starts, or its slices would come up in the machine's. world.sh removes it.
mkdir -p /run/world/cgroup
mount -t cgroup2 none /run/world/cgroup
cgroup=$(mktemp -d /run/world/cgroup/denyd-e2e.XXXXXX)
echo "$cgroup" >/run/world/cgroup.name
echo $$ >"$cgroup/cgroup.procs"
exec unshare --fork --kill-child=KILL --pid --mount --cgroup --propagation private bash -euc '
denyd=$1
all=/run/world/box
mkdir $all
mount -t tmpfs tmpfs $all
mkdir $all/{upper,work,root}
mount -t overlay overlay -o lowerdir=/,upperdir=$all/upper,workdir=$all/work $all/root
root=$all/root
mount -t proc proc $root/proc
for name in sys sysrq-trigger; do
  [ -e $root/proc/$name ] || continue
  mount --bind $root/proc/$name $root/proc/$name
  mount -o remount,bind,ro $root/proc/$name
done
mount -t sysfs -o ro sysfs $root/sys
mount -t cgroup2 none $root/sys/fs/cgroup
for dir in run tmp dev var/log var/lib/systemd; do mount -t tmpfs -o mode=755 tmpfs $root/$dir; done
chmod 1777 $root/tmp
for n in null zero full random urandom tty; do cp -a /dev/$n $root/dev/$n; done
mkdir $root/dev/{pts,shm} $root/var/log/journal
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts $root/dev/pts
mount -t tmpfs tmpfs $root/dev/shm
touch $root/usr/local/sbin/denyd
mount --bind "$denyd" $root/usr/local/sbin/denyd
rm -rf $root/etc/denyd $root/var/lib/denyd

# Only ssh is enabled; what deals with the machine itself is masked.
units=$root/etc/systemd/system
rm -rf $units/*.wants $units/*.requires $root/etc/rc?.d $root/etc/init.d
rm -f $root/etc/resolv.conf
: >$root/etc/fstab
: >$root/etc/machine-id
mkdir -p $units/multi-user.target.wants
ln -s /lib/systemd/system/ssh.service $units/multi-user.target.wants/
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
  systemd-udevd-kernel.socket systemd-logind.service getty.target systemd-remount-fs.service \
  systemd-hwdb-update.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
  systemd-machine-id-commit.service systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service \
  systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-firstboot.service dev-hugepages.mount \
  dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount tmp.mount; do
  ln -sf /dev/null $units/$unit
done
chroot $root ssh-keygen -A >/dev/null
printf "PermitRootLogin yes\nPasswordAuthentication yes\nUsePAM yes\nMaxStartups 500\n" >$root/etc/ssh/sshd_config
chroot $root useradd -M -d /tmp -s /bin/sh tbuser
printf "tbuser:Tb-Right-1\nroot:Tb-Root-1\n" | chroot $root chpasswd
sed -i "s/pam_unix.so nullok/pam_unix.so nullok nodelay/" $root/etc/pam.d/common-auth
echo tbhost >$root/etc/hostname
cd $root
mount --move . /
caps=-sys_time,-sys_module,-sys_rawio,-sys_boot
exec setpriv --bounding-set $caps --inh-caps $caps chroot . env -i container=e2e \
  PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target --show-status=no \
  --log-target=console --log-level=warning
' bash "$denyd"
