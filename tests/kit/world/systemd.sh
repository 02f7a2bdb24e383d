# Boots the machine's own systemd as process 1 of a machine within the world: bash systemd.sh DENYD.
#
# machine.sh, which stands before this, says what it is; its network is the server's. Of the machine's services only ssh and
# journald start, and there is no log but the journal. DENYD is /usr/local/sbin/denyd there.
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
root=$all/root
machine_root $all var/log var/lib/systemd
touch $root/usr/local/sbin/denyd
mount --bind "$denyd" $root/usr/local/sbin/denyd
rm -rf $root/etc/denyd $root/var/lib/denyd
machine_first $root

# Only ssh is enabled.
wants=$root/etc/systemd/system/multi-user.target.wants
mkdir -p $wants
ln -s /lib/systemd/system/ssh.service $wants/
: >$root/etc/machine-id
printf "PermitRootLogin yes\nPasswordAuthentication yes\nUsePAM yes\nMaxStartups 500\n" >$root/etc/ssh/sshd_config
chroot $root useradd -M -d /tmp -s /bin/sh tbuser
printf "tbuser:Tb-Right-1\nroot:Tb-Root-1\n" | chroot $root chpasswd
sed -i "s/pam_unix.so nullok/pam_unix.so nullok nodelay/" $root/etc/pam.d/common-auth
echo tbhost >$root/etc/hostname
machine_boot $root e2e --log-target=console --log-level=warning
' bash "$denyd"
