# Whatever root of a zone writes to the kernel's settings, those of the host stay as they are.
# files: knobs.py ../confine/own-settings
LWTUNNEL=/proc/sys/net/netfilter/nf_hooks_lwtunnel
# Modules with settings of their own.
for module in nf_conntrack nf_tables ip_tables ip6_tables br_netfilter bridge ip_vs nf_log_syslog nf_flow_table sctp dccp mpls_router \
    tipc rds vrf 8021q can phonet rxrpc l2tp_core sunrpc lockd nfs smc openvswitch xt_recent xt_hashlimit pktgen ax25 netrom rose x25 \
    appletalk batman_adv wireguard ipvlan macvlan hsr seg6_iptunnel fuse binfmt_misc; do
    modprobe $module 2>/dev/null && loaded="$loaded $module"
done
echo "      with$loaded"
zone zion </dev/null
cp knobs.py own-settings /zones/zion/root/root/
knobs() { python3 knobs.py "$@"; }
inside_knobs() { inside "python3 /root/knobs.py $*"; }
good "the plan says what is refused" eval "zoneadm -z zion plan boot | grep -q '^ *[0-9]*.*make cgroup .* and refuse it to write $LWTUNNEL'"
good "boot" zoneadm -z zion boot
host() { knobs read | sort >"/tmp/host.$1"; }
host before
host again
gives "the host's settings do not change by themselves" "" diff /tmp/host.before /tmp/host.again
good "there are many of them" [ "$(wc -l </tmp/host.before)" -gt 700 ]
for kind in more less one zero; do
    inside_knobs write $kind >/tmp/$kind
    good "the zone writes to many of its own ($kind)" [ "$(grep -c ^written /tmp/$kind)" -gt 200 ]
    host $kind
    gives "the host's are as they were ($kind)" "" diff /tmp/host.before /tmp/host.$kind
done
inside_knobs write word >/tmp/word
good "the zone writes to its own that are words" [ "$(grep -c '^written.*\(congestion\|nf_log\|hostname\)' /tmp/word)" -gt 1 ]
host word
gives "the host's are as they were (word)" "" diff /tmp/host.before /tmp/host.word
# It can be opened, but not written.
gives "what the zone can write is named" "$LWTUNNEL" inside_knobs unnamed /root/own-settings

# The one that is the host's, from wherever root of a zone can write it.
gives "it is refused to zlogin" EPERM inside_knobs switch $LWTUNNEL
gives "and in a network namespace of the zone's" EPERM inside "unshare -n python3 /root/knobs.py switch $LWTUNNEL"
gives "and in a user namespace of the zone's" EPERM inside "unshare -Urn python3 /root/knobs.py switch $LWTUNNEL"
gives "and with another /proc" EPERM inside "mkdir -p /root/proc && unshare -pfm sh -c 'mount -t proc proc /root/proc 2>/dev/null
    f=/root$LWTUNNEL; test -e \$f || f=$LWTUNNEL; python3 /root/knobs.py switch \$f'"
gives "and in a cgroup below the zone's" EPERM inside "mkdir -p /sys/fs/cgroup/own/own && echo \$\$ >/sys/fs/cgroup/own/own/cgroup.procs &&
    python3 /root/knobs.py switch $LWTUNNEL"
gives "and in a cgroup namespace" EPERM inside "mkdir -p /sys/fs/cgroup/own/own && echo \$\$ >/sys/fs/cgroup/own/own/cgroup.procs &&
    unshare -C python3 /root/knobs.py switch $LWTUNNEL"
for group in "" /own /own/own; do
    gives "what refuses it cannot be taken away${group:+ from $group}" EPERM inside_knobs detach /sys/fs/cgroup$group
done
gives "and it is still refused" EPERM inside_knobs switch $LWTUNNEL
gives "the host's is off" 0 cat $LWTUNNEL
gives "one program does that" 1 knobs programs
good "reboot" zoneadm -z zion reboot
gives "refused after a reboot" EPERM inside_knobs switch $LWTUNNEL
gives "it is the same program" 1 knobs programs
zoneadm -z zion halt
gives "which stays for the next zone" 1 knobs programs

# A host without cgroup v2.
good "a host without cgroup v2" umount -l /sys/fs/cgroup
good "verify says what a zone lacks there" eval 'zoneadm -z zion verify 2>&1 | grep -q "cannot change its settings below /proc/sys/net"'
good "the doctor says it" eval 'zoneadm doctor | grep -q "/proc/sys/net is read-only"'
good "the zone boots" zoneadm -z zion boot
gives "the file is read-only" EROFS inside_knobs switch $LWTUNNEL
gives "in a network namespace of the zone's as well" EROFS inside "unshare -n python3 /root/knobs.py switch $LWTUNNEL"
gives "and in a user namespace" EROFS inside "unshare -Urnm python3 /root/knobs.py switch $LWTUNNEL"
bad "the cover cannot be taken away" inside "umount /proc/sys/net"
bad "nor made writable" inside "mount -o remount,bind,rw /proc/sys/net"
bad "and there is no other /proc" inside "mkdir -p /root/proc && unshare -pf mount -t proc proc /root/proc"
good "what it does not cover can be written" inside "cat /proc/sys/kernel/msgmax >/proc/sys/kernel/msgmax"
gives "the host's is still off" 0 cat $LWTUNNEL
zoneadm -z zion halt
mount -t cgroup2 cgroup2 /sys/fs/cgroup
