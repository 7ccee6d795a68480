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

# with LINES: the file system and device resources of zion are exactly these
with() {
    printf 'remove -F fs\nremove -F device\n%s\nexit\n' "$1" | zonecfg -z zion >/dev/null || fail "zonecfg takes: $1"
}
fs() { printf 'add fs\nset type=zfs\nset special=%s\nset dir=%s\n%send\n' "$1" "$2" "${3:+add options $3
}"; }
device() { printf 'add device\nset match=%s\nend\n' "$1"; }
