# Containers in a zone of a host with ZFS: a new /proc, and what it shows of the host's datasets.
# root: yes
{ echo create -b; echo "set zonepath=/zones/deb"; echo exit; } | zonecfg -z deb >/dev/null 2>&1
good "a whole root is installed from an archive" zoneadm -z deb install -a "$PWD/root.tar"
rm -f root.tar
says() { printf 'remove -F attr\n%s\nexit\n' "$1" | zonecfg -z deb >/dev/null || fail "zonecfg takes: $1"; }
attr() { printf 'add attr\nset name=proc-spl\nset type=string\nset value=%s\nend' "$1"; }
up() {
    good "the zone boots" zoneadm -z deb boot
    good "systemd comes up" comes_up
}
in_new_proc="unshare -rpf --mount-proc"
names='ls -d /proc/spl/kstat/zfs/tank'
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
open_mode=$(stat -c %a /proc/spl)

good "users of the host read what ZFS counts" nobody ls /proc/spl/kstat/zfs
up
bad "the zone sees no names of pools" zlogin deb "$names"
# Otherwise what is covered would be shown.
bad "and can mount no new /proc" zlogin deb "$in_new_proc true"
good "the zone halts" zoneadm -z deb halt

says "$(attr maybe)"
refused "a word that means nothing is refused" "neither 'closed' nor 'shown'" zoneadm -z deb verify
says "$(attr closed)"
good "verify says what proc-spl=closed costs the host" eval 'zoneadm -z deb verify 2>&1 | grep -q "to all users of the host but root"'
good "and so does the plan" eval 'zoneadm -z deb plan boot | grep -q "close /proc/spl of the host"'
up
bad "users of the host read it no more" nobody ls /proc/spl
good "root of the host does" eval "$names"
good "the zone has a user with ids of its own" zlogin deb \
    "useradd -m ann && sed -i '/^ann:/d' /etc/subuid /etc/subgid; echo ann:10000:20000 | tee /etc/subuid >/etc/subgid"
mkdir -p /zones/deb/root/srv/img/bin
cp "$(command -v busybox)" /zones/deb/root/srv/img/bin/busybox
ln -s busybox /zones/deb/root/srv/img/bin/sh
for user in root ann; do
    bad "the zone still sees no names ($user)" zlogin -l $user deb "$names"
    gives "a new /proc can be mounted ($user)" 1 zlogin -l $user deb "$in_new_proc sh -c 'echo \$\$'"
    bad "which shows no names either ($user)" zlogin -l $user deb "$in_new_proc $names"
    bad "nor to the root of more ids ($user)" zlogin -l $user deb "unshare -Upf --map-auto --map-root-user --mount-proc $names"
    gives "bubblewrap makes one ($user)" 1 zlogin -l $user deb \
        "bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc --as-pid-1 sh -c 'echo \$\$'"
    good "podman takes an image ($user)" zlogin -l $user deb "cd; tar -C /srv/img -c . | podman import - t"
    gives "podman runs a container ($user)" "1 in a container" zlogin -l $user deb \
        "cd; podman run --rm --network=none --cgroups=disabled t /bin/busybox sh -c 'echo \$\$ in a container' 2>/dev/null"
    bad "in which there are no names ($user)" zlogin -l $user deb \
        "cd; podman run --rm --network=none --cgroups=disabled t /bin/busybox ls /proc/spl/kstat/zfs/tank"
done
bad "the zone cannot open it again" zlogin deb "chmod 755 /proc/spl"
good "the zone halts" zoneadm -z deb halt

# Whoever closes it himself needs no attr.
says ""
bad "a folder that is closed is not covered" eval "zoneadm -z deb plan boot | grep 'with nothing in'"
up
good "a new /proc can be mounted" zlogin deb "$in_new_proc true"
bad "no names are seen there" zlogin deb "$in_new_proc $names"
good "the zone halts" zoneadm -z deb halt
chmod "$open_mode" /proc/spl

says "$(attr shown)"
good "verify says what proc-spl=shown shows" eval 'zoneadm -z deb verify 2>&1 | grep -q "the names of all pools and"'
up
good "with proc-spl=shown the zone sees them" zlogin deb "$names"
good "and can mount a new /proc" zlogin deb "$in_new_proc true"
good "the host is as it was" nobody ls /proc/spl/kstat/zfs
good "the zone halts" zoneadm -z deb halt
good "it can be uninstalled" zoneadm -z deb uninstall -F
zonecfg -z deb delete -F
