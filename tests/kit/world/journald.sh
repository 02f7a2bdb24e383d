# A journald of the world's own: bash journald.sh; it is ready when /run/journald.ready is there.
#
# Without systemd as process 1 its records have no _SYSTEMD_UNIT. Journals are small, so that they rotate by themselves.
set -eu
systemd-id128 new >/etc/machine-id
cat >/etc/systemd/journald.conf <<'END'
[Journal]
Storage=persistent
RateLimitIntervalSec=0
SyncIntervalSec=1s
SystemMaxFileSize=1M
SystemMaxFiles=1000
ForwardToSyslog=no
ForwardToWall=no
Audit=no
ReadKMsg=no
END
mkdir -p /var/log/journal /run/log/journal /run/systemd/journal
ln -sf /run/systemd/journal/dev-log /dev/log
/lib/systemd/systemd-journald &
until [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/dev-log ]; do sleep 0.01; done
journalctl -q --flush # until then even Storage=persistent stays in /run/log/journal
touch /run/journald.ready
wait
