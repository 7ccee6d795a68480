# clone --with-datasets.
# images: bookworm
# files: lifecycle.lib
. ./lifecycle.lib
conf lc0 /lc/lc0; conf lc1 /lc/lc1

zfs create -o canmount=off -o mountpoint=none tank/deleg
zfs create -o mountpoint=/export -o compression=zstd-5 -o quota=200M tank/deleg/lc0
zonecfg -z lc0 'add dataset; set name=tank/deleg/lc0; end'
adm lc0 install >/dev/null; adm lc0 boot || fail "boot with a dataset"
in_zone() { local z=$1; shift; zlogin "$z" "export ZFS_MODULE_TIMEOUT=0; $*"; }
good "the source works in its dataset" in_zone lc0 'zfs create tank/deleg/lc0/sub && zfs create -s -V 4M tank/deleg/lc0/vol && zfs snapshot tank/deleg/lc0/sub@theirs &&
    echo a >/export/sub/f && chown 1000:1000 /export/sub/f && ln /export/sub/f /export/sub/g && ln -s /etc/passwd /export/sub/l &&
    cp /bin/true /export/sub/suid && chmod 6755 /export/sub/suid && chown 0:1000 /export && mkdir -p /export/deep/er && mkfifo /export/sub/pipe'
adm lc0 halt
zonecfg -z lc1 'add dataset; set name=tank/deleg/lc1; end'
refused "without the option the dataset has to be there" "could not verify zfs dataset tank/deleg/lc1: dataset does not exist" adm lc1 clone lc0
good "the plan clones the tree" eval "adm lc1 plan clone --with-datasets lc0 | grep -q 'clone tank/deleg/lc0@SUNWzone1 and what is below it as tank/deleg/lc1'"
says "clone --with-datasets" "Dataset tank/deleg/lc0 has been cloned as tank/deleg/lc1." adm lc1 clone --with-datasets lc0
gives "all of it" "tank/deleg/lc1 tank/deleg/lc1/sub tank/deleg/lc1/vol" eval "zfs list -Hro name tank/deleg/lc1 | xargs"
gives "from one moment" 1 eval "zfs get -Hpo value createtxg tank/deleg/lc0@SUNWzone1 tank/deleg/lc0/sub@SUNWzone1 tank/deleg/lc0/vol@SUNWzone1 tank/lc/lc0@SUNWzone1 | sort -u | wc -l"
gives "zoned is set on the root alone" "local inherited from tank/deleg/lc1" eval "zfs get -Ho source zoned tank/deleg/lc1 tank/deleg/lc1/sub | xargs"
gives "properties of the zone come along" "/export zstd-5 209715200" eval "echo \$(value mountpoint tank/deleg/lc1) \$(value compression tank/deleg/lc1) \$(value quota tank/deleg/lc1)"
good "the clone boots" adm lc1 boot
gives "files belong to the same people inside" "0:1000 1000:1000 6755" in_zone lc1 'echo $(stat -c %u:%g /export) $(stat -c %u:%g /export/sub/f) $(stat -c %a /export/sub/suid)'
gives "and to other ids outside" 0 eval 'zlogin lc1 "find /export \( -uid 65534 -o -gid 65534 \)" | wc -l'
good "it is the zone's own" in_zone lc1 'echo b >/export/sub/f && rm /export/sub/l && zfs create tank/deleg/lc1/more && zfs destroy tank/deleg/lc1/vol'
good "the source boots beside it" adm lc0 boot
gives "and has its own" a in_zone lc0 'cat /export/sub/f'
adm lc0 halt; adm lc1 halt
adm lc1 uninstall -F >/dev/null
good "uninstall leaves the datasets" zfs list tank/deleg/lc1
refused "a dataset that is there is refused, before anything is made" "--with-datasets: tank/deleg/lc1 exists already" adm lc1 clone --with-datasets lc0
zfs destroy -r tank/deleg/lc1
gives "the snapshots went with the last clone" "" eval "snaps tank/deleg/lc0 | tr ' ' '\n' | grep SUNWzone | xargs"
zonecfg -z lc1 'remove -F dataset; add dataset; set name=other/lc1; end'
refused "another pool is refused" "other/lc1 is in another pool than tank/deleg/lc0" adm lc1 clone --with-datasets lc0
zonecfg -z lc1 'remove -F dataset; add dataset; set name=tank/nowhere/lc1; end'
refused "no parent is refused" "use zfs create -p tank/nowhere" adm lc1 clone --with-datasets lc0
zonecfg -z lc1 'remove -F dataset; add dataset; set name=tank/deleg/lc0/in; end'
refused "a place in the source is refused" "overlap" adm lc1 clone --with-datasets lc0
zonecfg -z lc1 'remove -F dataset'
refused "every dataset needs one to become" "zone 'lc0' has 1 dataset resources and zone 'lc1' 0" adm lc1 clone --with-datasets lc0
zonecfg -z lc1 'add dataset; set name=tank/deleg/lc1; end'
for number in 4294967295 4294967296 18446744073709551615; do zfs snapshot tank/deleg/lc0@SUNWzone$number; done
says "numbers that the zone has given are passed over" "Dataset tank/deleg/lc0 has been cloned as tank/deleg/lc1." adm lc1 clone --with-datasets lc0
gives "by the next one that is free" tank/deleg/lc0@SUNWzone4294967297 value origin tank/deleg/lc1
adm lc1 uninstall -F >/dev/null; zfs destroy -r tank/deleg/lc1; zfs destroy -r tank/deleg/lc0@%; zfs destroy tank/lc/lc0@% 2>/dev/null
zfs snapshot tank/lc/lc0@mine
zfs set reservation=$(($(value available tank) * 6 / 10)) tank/lc/lc0
refused "what cannot be made is taken back" "cannot clone snapshot tank/lc/lc0@mine" adm lc1 clone -s mine --with-datasets lc0
zfs destroy tank/lc/lc0@mine
good "(all of it)" eval 'gone tank/deleg/lc1 && ! snaps tank | grep -q SUNWzone'
zonecfg -z lc0 'remove -F dataset'; zonecfg -z lc1 'remove -F dataset'
adm lc0 uninstall -F >/dev/null
zfs destroy -r tank/deleg
for z in lc0 lc1 lc2 lc3 lc4 lcx; do zonecfg -z $z delete -F 2>/dev/null; done
good "the pool is free" zpool destroy other
good "and the folder" zfs destroy tank/lc
