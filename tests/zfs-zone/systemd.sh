# systemd as process 1 of a whole-root zone, and unprivileged sandboxes in it.
# images: bookworm
# root: yes
start() { echo create -b; echo "set zonepath=/zones/deb"; cat; echo exit; }
state() { zoneadm -z deb list -p | cut -d: -f3; }
settles() { # wanted: the state of the zone, within a minute
    for _ in $(seq 120); do [ "$(state)" = "$1" ] && return; sleep 0.5; done
    echo "still $(state)"; return 1
}

start <<<"" | zonecfg -z deb >/dev/null 2>&1
good "a whole root is installed from an archive" zoneadm -z deb install -a "$PWD/root.tar"
rm -f root.tar
gives "init of the root is started" "start /sbin/init" eval "zoneadm -z deb plan boot | tail -n 1 | sed 's/^ *[0-9]* *//'"
good "the zone boots" zoneadm -z deb boot
good "systemd comes up, and nothing has failed" comes_up
gives "it is process 1" systemd zlogin deb cat /proc/1/comm
gives "it knows that it is in a container" container-other zlogin deb systemd-detect-virt
gives "it has the zone's name" deb zlogin deb hostname
gives "it is in a group of its own within the zone's" 0::/init.scope zlogin deb cat /proc/1/cgroup
good "it can start a service with limits" zlogin deb \
    "systemd-run --wait -q -p MemoryMax=64M -p TasksMax=20 -p CPUQuota=50% sh -c 'test \$(cat /sys/fs/cgroup/\$(cut -d: -f3 /proc/self/cgroup)/memory.max) = 67108864'"
good "and one with namespaces of its own" zlogin deb \
    "systemd-run --wait -q -p PrivateTmp=yes -p ProtectSystem=strict -p PrivateDevices=yes -p NoNewPrivileges=yes sh -c '! touch /usr/x'"
gives "a service can be held to a cpu" 0 zlogin deb \
    "systemd-run -q --wait --pipe -p AllowedCPUs=0 sh -c 'sed -n s/^Cpus_allowed_list:.//p /proc/self/status'"
gives "every controller of the host is there" "$(cat /sys/fs/cgroup/cgroup.controllers)" zlogin deb cat /sys/fs/cgroup/cgroup.controllers
zlogin deb "systemd-run -q --unit follows -p PrivateTmp=yes sleep 1000"
gives "a service with mounts of its own sees what is mounted later" file zlogin deb \
    "mkdir -p /mnt/later && mount -t tmpfs t /mnt/later && touch /mnt/later/file && ls /proc/\$(systemctl show -P MainPID follows)/root/mnt/later; umount /mnt/later; systemctl stop follows"
gives "a service has its credentials" bar zlogin deb \
    "systemd-run -q --wait --pipe -p SetCredential=foo:bar sh -c 'cat \$CREDENTIALS_DIRECTORY/foo'"
bad "nothing of the zone raises the limits of the zone" zlogin deb "echo max > /sys/fs/cgroup/pids.max"
good "the console has a login" zlogin deb systemctl is-active console-getty
good "the journal is written" eval 'zlogin deb "logger from-the-zone; journalctl --sync; journalctl -b --no-pager" | grep -q from-the-zone'

first=$(sed 's/.* init=\([0-9]*\).*/\1/' /run/zones/deb/running)
zlogin deb systemctl reboot >/dev/null 2>&1
again() {
    for _ in $(seq 120); do
        grep -q "state=running" /run/zones/deb/running 2>/dev/null && ! grep -q " init=$first " /run/zones/deb/running && return
        sleep 0.5
    done
    return 1
}
good "it reboots the zone" again
good "and comes up again" comes_up
zlogin deb systemctl poweroff >/dev/null 2>&1
good "it powers the zone off" settles installed
good "the zone boots again" zoneadm -z deb boot
good "and comes up" comes_up
good "zoneadm shutdown asks it, and waits" zoneadm -z deb shutdown
gives "the zone is halted then" installed state

good "it boots for maintenance" zoneadm -z deb boot -s
rescued() { for _ in $(seq 60); do [ "$(zlogin deb systemctl is-active rescue.target 2>&1)" = active ] && return; sleep 1; done; return 1; }
good "which is rescue mode" rescued
bad "without the services of other days" zlogin deb systemctl is-active multi-user.target
good "the zone halts" zoneadm -z deb halt

good "it boots again" zoneadm -z deb boot
good "and comes up" comes_up
first=$(sed 's/.* init=\([0-9]*\).*/\1/' /run/zones/deb/running)
zlogin deb "systemd-run -q --unit slow -p TimeoutStopSec=30 -p KillSignal=SIGCONT sh -c 'trap : TERM; while :; do sleep 1; done'"
refused "a slow service does not stop it in time" "it will be booted again" zoneadm -z deb shutdown -r -t 5
gives "the zone goes on shutting down" shutting_down state
good "and boots again when it has ended" again
good "it comes up" comes_up
good "zoneadm shutdown -r boots it again" zoneadm -z deb shutdown -r
good "and it comes up" comes_up
# It writes to /var, which some profiles do not let it.
zlogin deb "systemctl mask podman.service podman.socket podman-restart podman-auto-update.service podman-auto-update.timer podman-clean-transient.service" >/dev/null 2>&1
good "it can be shut down" zoneadm -z deb shutdown

# As at its first boot: systemd cannot write the number of the machine, and makes one for this boot.
: >/zones/deb/root/etc/machine-id
for profile in strict fixed-configuration; do
    zonecfg -z deb "set file-mac-profile=$profile"
    good "with file-mac-profile=$profile it boots" zoneadm -z deb boot
    good "and comes up" comes_up
    bad "its root is read-only" zlogin deb "touch /etc/x"
    bad "a service cannot be switched off for good" zlogin deb "systemctl mask console-getty"
    good "halt ends it at once" zoneadm -z deb halt
done
zonecfg -z deb "clear file-mac-profile"

zoneadm -z deb boot
comes_up >/dev/null
zlogin deb "useradd -m ann && sed -i '/^ann:/d' /etc/subuid /etc/subgid; echo ann:10000:20000 | tee /etc/subuid >/etc/subgid" >/dev/null 2>&1
sandbox='bwrap --unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup --ro-bind / / --dev /dev'
for user in root ann; do
    good "$user makes a sandbox with bubblewrap" zlogin -l $user deb "$sandbox true"
    gives "$user has ids of its own there" 0 zlogin -l $user deb "$sandbox --uid 0 id -u"
    # /proc/spl of the machine is covered, and the kernel refuses a new /proc while that is so.
    bad "a new /proc inside shows nothing that is covered outside ($user)" zlogin -l $user deb "$sandbox --proc /proc cat /proc/spl/kstat/zfs/arcstats"
done
good "newuidmap gives a user the ids of /etc/subuid" zlogin -l ann deb \
    "unshare --user --map-root-user --map-auto sh -c 'touch /tmp/f && chown 7:7 /tmp/f'"
gives "as the zone sees them" 10006 zlogin deb "stat -c %u /tmp/f"
zlogin deb "echo ann:100000:65536 | tee /etc/subuid >/etc/subgid"
bad "but no ids that the zone does not have" zlogin -l ann deb "unshare --user --map-root-user --map-auto true"
good "the zone halts" zoneadm -z deb halt
good "nothing is left of its group" eval '! ls -d /sys/fs/cgroup/zones/deb /sys/fs/cgroup/zones.deb 2>/dev/null'
good "it can be uninstalled" zoneadm -z deb uninstall -F
zonecfg -z deb delete -F
