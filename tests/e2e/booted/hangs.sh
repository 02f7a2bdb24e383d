# Whatever becomes of denyd, sshd starts, and soon.
. /scratch/booted/common.sh
install_denyd
printf '#!/bin/sh\nexec sleep 1000\n' >/usr/sbin/nft
for config in '' 'deny.backends = ["nftables"]'; do
    echo "$config" >/etc/denyd/denyd.toml
    begun=$SECONDS
    systemctl start ssh denyd
    took=$((SECONDS - begun))
    check "with an nft that hangs and '$config' both are up after $took s, of 10" test $took -le 10
    check "sshd is" systemctl is-active ssh
    check "denyd is, and says what it does not do" sh -c 'denyd doctor | grep "FAIL nftables: denies are not enforced"'
    systemctl stop ssh denyd
done
printf '#!/bin/sh\nexit 1\n' >/usr/bin/denyd
begun=$SECONDS
systemctl start ssh
systemctl start denyd || true
check "sshd starts beside a denyd that cannot" systemctl is-active ssh
