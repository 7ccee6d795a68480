# Volumes of a zone have no block device on the host: nobody there reads what a zone has written to them.
# files: attack.py guard-common.lib
# machine: bypass
. ./guard-common.lib

# nodes: the block devices of volumes on the host, snapshots among them, once udev is done
nodes() {
    udevadm settle
    for d in /sys/block/zd*; do [ -e "$d" ] && /lib/udev/zvol_id "/dev/${d##*/}"; done | sort | xargs
}
local_mode() { zfs get -Ho value,source volmode "$1" | xargs; }

# What was there before: made by an earlier release, or by the host.
zfs create -V 8M $root/old
zfs create -o volmode=dev $root/said
zfs create -V 8M $root/said/below
zfs create -V 8M -o volmode=full $root/own
zfs create -V 8M -o volmode=full tank/guard/source
zfs snapshot tank/guard/source@1
zfs send -p tank/guard/source@1 | zfs receive $root/came
zfs destroy $root/came@1
gives "they have devices on the host" "tank/guard/source $root/came $root/old $root/own $root/said/below" nodes
planned=$(zoneadm -z zion plan boot | grep "dataset $root: .*, volmode=none, inherit volmode on ")
for d in said own came; do
    good "the plan says what is set: $d" eval "[[ \" \$planned \" = *' $root/$d '* ]]"
done
good "the plan says that it is locked" eval 'zoneadm -z zion plan boot | grep -q "snapdir, volmode, zoned locked, and sharenfs, sharesmb, snapdir, volmode, zoned below it"'
good "boot" zoneadm -z zion boot
soon eval '[ "$(nodes)" = tank/guard/source ]'
gives "after the boot only the host's own has one" tank/guard/source nodes
gives "the delegated dataset says so" "none local" local_mode $root
for d in old said said/below own came; do
    good "$d inherits it" eval "[[ \$(local_mode $root/$d) = 'none inherited from '* ]]"
done
good "a second boot has nothing to set" eval '! zoneadm -z zion plan boot | grep -q "volmode=none"'
serve
LOCKED=$LOCKED,volmode
inside "zfs create $home"
limits() { zfs get -Hp -o name,property,value,source -t filesystem,volume -r volmode $root; }

# The pair that said "dataset is busy": udev had opened what was just made, in one of three to six cases.
good "a volume that was just made can be destroyed" inside "for i in \$(seq 30); do
    zfs create -V 8M $root/x && zfs destroy $root/x || exit; done"
good "the zone makes volumes as before" inside "zfs create -V 8M $root/vol && zfs create -s -V 16M $home/vol && zfs snapshot $root/vol@1"
gives "they have no device" tank/guard/source nodes
for mode in dev full default none; do
    before=$(limits)
    locked "zfs set volmode=$mode" inside "zfs set volmode=$mode $root"
    locked "zfs set volmode=$mode on a child" inside "zfs set volmode=$mode $home"
    locked "zfs set volmode=$mode on a volume" inside "zfs set volmode=$mode $root/vol"
    locked "zfs create -o volmode=$mode" inside "zfs create -o volmode=$mode $root/born"
    locked "zfs create -V -o volmode=$mode" inside "zfs create -V 8M -o volmode=$mode $root/born"
    locked "zfs clone -o volmode=$mode" inside "zfs clone -o volmode=$mode $root/vol@1 $root/born"
done
for word in "inherit" "inherit -S" "inherit -r"; do
    locked "zfs $word volmode" inside "zfs $word volmode $root"
    kept "zfs $word volmode of a volume" inside "zfs $word volmode $root/vol"
done
locked "SET_PROP by hand" attack set ioctl native $root/vol volmode=2
locked "SET_PROP by hand, in capital letters" attack set ioctl native $root/vol VOLMODE=2
good "a clone" inside "zfs clone $root/vol@1 $root/clone && zfs promote $root/clone && zfs promote $root/vol"
good "a clone that is renamed" inside "zfs rename $root/clone $home/clone"
before=$(limits)
kept "a snapshot's own device" inside "zfs set snapdev=visible $root/vol; zfs snapshot $root/vol@2"
gives "none of them has a device" tank/guard/source nodes

# Streams.
zfs send -p tank/guard/source@1 >/zones/zion/root/root/stream
zfs send tank/guard/source@1 >/zones/zion/root/root/plain
zfs snapshot tank/guard/source@2
zfs send -p -i @1 tank/guard/source@2 >/zones/zion/root/root/more
good "a stream with volmode is received" inside "zfs receive $root/got </root/stream"
good "and the next one" inside "zfs receive -F $root/got </root/more"
good "the property is left out" eval "[ \"\$(local_mode $root/got)\" = 'none inherited from $root' ]"
good "receive -x" inside "zfs receive -x volmode $root/gotx </root/stream"
good "it inherits, too" eval "[ \"\$(local_mode $root/gotx)\" = 'none inherited from $root' ]"
before=$(limits)
locked "receive -o" inside "zfs receive -o volmode=dev $root/goto </root/plain"
for which in old new; do
    good "the $which request by hand, with the property" attack receive $which $root $root/hand-$which@s /root/plain volmode=2
done
gives "nothing that was received has a device" tank/guard/source nodes
unserve
good "halt" zoneadm -z zion halt
gives "nothing has one after the halt" tank/guard/source nodes

# Who needs the devices says so.
with_mode() { delegates "$(dataset $root "volmode=$1")"; }
with_mode dev
good "verify takes it" zoneadm -z zion verify
good "boot with volmode=dev" zoneadm -z zion boot
gives "it is set" "dev local" local_mode $root
good "the volumes have devices" soon eval "[[ \" \$(nodes) \" = *' $root/vol '* ]]"
bad "it is locked all the same" inside "zfs set volmode=none $root/vol"
zoneadm -z zion halt
printf 'add device\nset match=/dev/zvol/dsk/%s/vol\nend\nexit\n' $root | zonecfg -z zion
good "boot with the device of such a volume" zoneadm -z zion boot
good "the zone has it" inside "test -b /dev/zvol/dsk/$root/vol"
zoneadm -z zion halt
with_mode none
printf 'add device\nset match=/dev/zvol/dsk/%s/vol\nend\nexit\n' $root | zonecfg -z zion
good "verify says that a volume without a device is not found" \
    eval "zoneadm -z zion verify 2>&1 | grep -q 'device /dev/zvol/dsk/$root/vol: .* set volmode=dev'"
delegates "$(dataset $root)"
good "boot without the word" zoneadm -z zion boot
soon eval '[ "$(nodes)" = tank/guard/source ]'
gives "takes the devices away again" tank/guard/source nodes
zoneadm -z zion halt

# Given back, what the zone has written stays unread until the host wants it.
gone zion
good "reclaim tells that volumes stay without devices" eval "zoneadm reclaim -F $root 2>&1 | grep -q 'volmode stays none'"
gives "they do" tank/guard/source nodes
zfs destroy -r tank/guard
