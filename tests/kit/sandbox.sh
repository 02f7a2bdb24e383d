# A machine of its own, made in new mount, host name and process namespaces: all of it goes with their last process.
#
# Private and to be changed freely: /etc and /var/lib (overlays), /run, /var/log and /dev (empty).
set -eu
PATH=$PATH:/usr/sbin:/sbin

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock /run/world/{etc,etc.work,lib,lib.work,dev}
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/world/etc,workdir=/run/world/etc.work /etc
mount -t overlay overlay -o lowerdir=/var/lib,upperdir=/run/world/lib,workdir=/run/world/lib.work /var/lib
# The machine below may have a denyd or a DenyHosts of its own.
rm -rf /etc/denyd /etc/denyhosts.c* /var/lib/denyd* /var/lib/denyhosts
mount -t tmpfs -o mode=755 tmpfs /var/log
dev=/run/world/dev
mount -t tmpfs -o mode=755,nosuid tmpfs $dev
for n in null zero full random urandom tty; do cp -a /dev/$n $dev/$n; done
mkdir $dev/pts $dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts $dev/pts
mount -t tmpfs tmpfs $dev/shm
ln -s pts/ptmx $dev/ptmx
ln -s /proc/self/fd $dev/fd
mount --move $dev /dev
hostname tbhost
