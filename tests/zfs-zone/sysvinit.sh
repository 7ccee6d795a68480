# sysvinit as process 1 of a whole-root zone.
# images: bookworm
# root: sysvinit
{ echo create -b; echo "set zonepath=/zones/old"; echo exit; } | zonecfg -z old >/dev/null 2>&1
state() { zoneadm -z old list -p | cut -d: -f3; }
up() { # its run level is reached
    for _ in $(seq 60); do zlogin old "pgrep -x getty >/dev/null" 2>/dev/null && return; sleep 0.5; done
    zlogin old "ps -ef"; return 1
}
installed=$(zoneadm -z old install -a "$PWD/root.tar" 2>&1)
rm -f root.tar
good "install says which init will run" eval 'grep -q "the init of its root, init" <<<"$installed"'
good "and what it has done about logins" eval 'grep -q "one on the console" <<<"$installed"'
good "the zone boots" zoneadm -z old boot
good "its run level is reached" up
gives "it is process 1" init zlogin old cat /proc/1/comm
gives "there is a login on the console, and no other" "console" zlogin old "ps -o args= -C getty | awk '{ print \$(NF-1) }'"
good "shutdown -r boots it again" zoneadm -z old shutdown -r
gives "the zone runs" running state
good "its run level is reached again" up
good "shutdown ends it" zoneadm -z old shutdown
gives "the zone is halted" installed state
good "boot -s is its single user" zoneadm -z old boot -s
sleep 5
bad "where nobody can log in" zlogin old "pgrep -x getty"
good "the zone halts" zoneadm -z old halt
good "the zone boots" zoneadm -z old boot
good "its run level is reached" up
first=$(sed 's/.* init=\([0-9]*\).*/\1/' /run/zones/old/running)
zlogin old "/sbin/init 6" >/dev/null 2>&1
again() {
    for _ in $(seq 60); do
        grep -q "state=running" /run/zones/old/running 2>/dev/null && ! grep -q " init=$first " /run/zones/old/running && return
        sleep 0.5
    done
    return 1
}
good "it reboots by itself" again
good "its run level is reached" up
zlogin old "/sbin/init 0" >/dev/null 2>&1
good "and powers itself off" eval 'for _ in $(seq 60); do [ "$(state)" = installed ] && break; sleep 0.5; done; [ "$(state)" = installed ]'
good "it can be uninstalled" zoneadm -z old uninstall -F
zonecfg -z old delete -F
