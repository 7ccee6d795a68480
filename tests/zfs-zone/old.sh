# A release of ZFS that cannot delegate: what needs that is refused with what to install, a zone without works.
# images: bookworm-old
install="install OpenZFS 2.2.11, 2.3.9, 2.4.4 or newer"
zone zion </dev/null
zfs create -o mountpoint=legacy tank/zone/shared
zfs create -o mountpoint=/data tank/zone/data
with "$(fs tank/zone/shared /export/shared)"
refused_zone "a file system, whose ids cannot be mapped" "the ZFS of this host (2.1.11"
refused "says what to install" "cannot map ids; install OpenZFS 2.2 or newer" zoneadm -z zion verify
with ""
delegates "$(dataset tank/zone/data)"
refused_zone "a dataset" "$install"
refused "names the dataset and the release" "tank/zone/data" zoneadm -z zion verify
refused "and the release of this host" "2.1.11" zoneadm -z zion verify
gives "nothing has been done to it" "off default yes" eval 'echo $(zfs get -Ho value,source zoned tank/zone/data) $(zfs get -Ho value mounted tank/zone/data)'
refused "doctor says so, too" "ZFS delegation" eval 'zoneadm doctor; false'
delegates ""
good "without it the zone boots" zoneadm -z zion boot
zoneadm -z zion halt
zfs create -o mountpoint=/zones2 tank/zones
zonecfg -z below 'create; set zonepath=/zones2/below'
good "a zone with a file system of its own is installed" eval 'zoneadm -z below install | grep -q "ZFS file system has been created"'
zonecfg -z other 'create; set zonepath=/zones2/other'
good "and cloned" eval 'zoneadm -z other clone below && zfs get -Ho value origin tank/zones/other | grep -q @SUNWzone1'
gone other; gone below
zfs destroy -r tank/zones; zfs destroy tank/zone/data
