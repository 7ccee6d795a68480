# How a case is told and counted.
passed=0 failed=0

pass() { passed=$((passed + 1)); echo "ok    $1"; }
fail() {
    failed=$((failed + 1))
    echo "FAIL  $1"
    shift
    printf '%s\n' "$@" | sed 's/^/      /'
}

# good NAME COMMAND...: it succeeds
good() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then pass "$name"; else fail "$name" "$* gives $?" "$out"; fi
}

# bad NAME COMMAND...: it fails
bad() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then fail "$name" "$* succeeds" "$out"; else pass "$name"; fi
    [ -z "$SHOW" ] || echo "      $out"
}

# gives NAME TEXT COMMAND...: it succeeds and prints exactly this
gives() {
    local name=$1 text=$2 out
    shift 2
    if out=$("$@" 2>&1) && [ "$out" = "$text" ]; then pass "$name"; else fail "$name" "wanted: $text" "got: $out"; fi
}

# tells TEXT COMMAND...: it succeeds and prints this among other things
tells() {
    local text=$1 out
    shift
    out=$("$@" 2>&1) && case $out in *"$text"*) true ;; *) false ;; esac || { echo "$out"; false; }
}

# refused NAME TEXT COMMAND...: it fails and says this
refused() {
    local name=$1 text=$2 out
    shift 2
    if out=$("$@" 2>&1); then
        fail "$name" "$* succeeds" "$out"
    elif case $out in *"$text"*) true ;; *) false ;; esac; then
        pass "$name"
    else
        fail "$name" "wanted: $text" "got: $out"
    fi
}

# refused_zone NAME TEXT: neither verify nor boot takes the zone, both with this text
refused_zone() {
    refused "$1 (verify)" "$2" zoneadm -z zion verify
    refused "$1 (boot)" "$2" zoneadm -z zion boot
    zoneadm -z zion halt >/dev/null 2>&1
}

# Without the wait of ten seconds for a module that may be loading.
inside() { zlogin zion "export ZFS_MODULE_TIMEOUT=0; $1"; }
state() { zoneadm -z "${1:-zion}" list -p | cut -d: -f3; }

# zone NAME: a zone, installed, configured with the lines of standard input
zone() {
    { echo create; echo "set zonepath=/zones/$1"; cat; echo exit; } | zonecfg -z "$1" || exit 2
    zoneadm -z "$1" install >/dev/null || exit 2
}

# gone NAME: no such zone, whatever there was
gone() {
    zoneadm -z "$1" halt >/dev/null 2>&1; zoneadm -z "$1" uninstall -F >/dev/null 2>&1; zonecfg -z "$1" delete -F >/dev/null 2>&1
    [ ! -e "/etc/zones.d/$1.toml" ]
}

# with LINES: the file system and device resources of zion are exactly these
with() {
    printf 'remove -F fs\nremove -F device\n%s\nexit\n' "$1" | zonecfg -z zion >/dev/null || fail "zonecfg takes: $1"
}
fs() { printf 'add fs\nset type=zfs\nset special=%s\nset dir=%s\n%send\n' "$1" "$2" "${3:+add options $3
}"; }
device() { printf 'add device\nset match=%s\nend\n' "$1"; }
dataset() { printf 'add dataset\nset name=%s\n%send\n' "$1" "${2:+set $2
}"; }
# delegates LINES: the dataset resources of zion are exactly these, and it has no others
delegates() {
    printf 'remove -F fs\nremove -F device\nremove -F dataset\nremove -F attr\n%s\nexit\n' "$1" |
        zonecfg -z zion >/dev/null || fail "zonecfg takes: $1"
}
visible() { inside "zfs list -Ho name" | xargs; }
value() { zfs get -Ho value "$1" "$2"; }
local_on() { [ "$(zfs get -Ho value,source zoned "$1" | xargs)" = "on local" ]; }
# No mount of a dataset in any process, nor counted by the kernel.
unmounted() { ! grep -q " zfs $1[/ ]" /proc/[0-9]*/mountinfo 2>/dev/null; }
pinned() { grep -q "/run/zones/" /proc/self/mountinfo; }
# Nothing is left of a zone that has ended.
nothing_left() { ! pinned && [ ! -e "/run/zones/${1:-zion}/datasets" ] && [ ! -e "/run/zones/${1:-zion}/userns" ]; }
init_of() { sed 's/.* init=\([0-9]*\).*/\1/' "/run/zones/$1/running"; }
console() { zlogin -C "$1" </dev/null 2>/dev/null; }

# soon COMMAND...: it succeeds within five seconds
soon() { for i in {1..50}; do "$@" && return; sleep 0.1; done; false; }

# Waits until systemd in the zone deb has come up, and names the units that have failed.
comes_up() {
    local said
    for _ in $(seq 120); do
        said=$(zlogin deb systemctl is-system-running 2>&1)
        case $said in
        running) return ;;
        degraded | maintenance | stopping) break ;;
        esac
        sleep 1
    done
    echo "$said"
    zlogin deb systemctl list-units --failed --no-pager --plain
    zlogin deb journalctl -b --no-pager -p warning | tail -n 40
    return 1
}

# trials NAME ARGUMENT...: a test program of the crate in the machine; each of its tests is a case of its own
trials() {
    local name=$1 programs p status
    shift
    # The test program looks for the others where its build has put them.
    programs=$(cat programs)
    mkdir -p "$programs"
    for p in zonecfg zoneadm zoneadmd zlogin zonename zonestat; do ln -sf "$PWD/$p" "$programs/$p"; done
    # The zones lie on a disk: before Linux 6.3 a tmpfs has no id-mapped mounts.
    TMPDIR=/var/tmp "./$name" --test-threads=1 "$@" >"/tmp/$name" 2>&1
    status=$?
    while read -r _ trial dots result; do
        [ "$dots" = ... ] || continue
        case $result in ok) pass "$trial" ;; ignored) ;; *) fail "$trial" ;; esac
    done < <(grep '^test ' "/tmp/$name")
    [ "$status" = 0 ] || sed -n '/^failures:/,$p' "/tmp/$name" | head -n 100
    good "all tests of $name have ended" grep -q "^test result: ok" "/tmp/$name"
}
