# Networks of zones on the kernel of Debian 12, with links that other kernels may lack.
# images: bookworm
# tests: network
programs=$(cat programs)
mkdir -p "$programs"
for p in zonecfg zoneadm zoneadmd zlogin zonename zonestat; do ln -s "$PWD/$p" "$programs/$p"; done
modprobe -a veth dummy 8021q bridge 2>/dev/null
# On a disk: before Linux 6.3 a tmpfs has no id-mapped mounts.
export TMPDIR=/var/tmp ZONES_TEST_REQUIRE=namespaces,links
# What takes longer than a minute in an emulated machine, and tells nothing about the kernel, is left to the host.
./network --test-threads=1 --skip fifty_zones_at_once --skip bandwidth >/tmp/network 2>&1
status=$?
while read -r _ name dots result; do
    [ "$dots" = ... ] || continue
    case $result in ok) pass "$name" ;; ignored) ;; *) fail "$name" ;; esac
done < <(grep '^test ' /tmp/network)
[ "$status" = 0 ] || sed -n '/^failures:/,$p' /tmp/network | head -n 100
good "all tests of networks have ended" grep -q "^test result: ok" /tmp/network
