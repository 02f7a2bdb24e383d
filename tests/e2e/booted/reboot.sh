# Who is denied stays out through everything, and who is not never notices.
. /scratch/booted/common.sh
if [ "$BOOT" = 1 ]; then
    install_denyd
    systemctl start denyd ssh
    denyd deny 203.0.113.10 --for 1d >/dev/null
    until_true 60 is_denied 203.0.113.10
    touch /scratch/denied-now
    until_true 60 test -e /scratch/begun
    systemctl reload denyd
    systemctl restart denyd
    systemctl stop denyd
    systemctl start denyd
    for _ in 1 2 3; do
        main=$(systemctl show denyd -p MainPID --value)
        kill -9 "$main"
        changed() { now=$(systemctl show denyd -p MainPID --value); [ "$now" != 0 ] && [ "$now" != "$main" ]; }
        until_true 60 changed
        until_true 60 denyd status
    done
    echo 'decide.threshold_root = 77' >/etc/denyd/denyd.toml
    denyd reload --confirm 10m | grep "not kept yet"
    denyd why 203.0.113.11 | grep "^root .* 77$"
    touch /scratch/before-reboot
    until_true 60 test -e /scratch/paused
    touch /scratch/reboot
    exit
fi
until_true 60 systemctl is-active ssh denyd
check "after the reboot the deny is there" is_denied 203.0.113.10
check "the configuration that nobody kept is not" sh -c 'denyd status | grep "so the one before holds"'
check "but the one before" sh -c 'denyd why 203.0.113.11 | grep "^root .* 1$"'
touch /scratch/end
until_true 60 test -e /scratch/ended
check "nobody saw a connection who was denied, nor missed one who was not" /scratch/booted/verdict /scratch/scan
