# Limits on cgroup v2: each checked by a load that would go beyond it.
# images: bookworm
group() { # zone: its folder
    local g
    for g in /sys/fs/cgroup/zones/$1 /sys/fs/cgroup/zones.$1 /sys/fs/cgroup/*/$1; do
        [ -d "$g" ] && { echo "$g"; return; }
    done
}
used() { sed -n 's/^usage_usec //p' "$(group "$1")/cpu.stat"; }
now() { date +%s%N; }
busy='for i in 1 2 3 4; do (while :; do :; done) & done; sleep 5; kill 0'
limited() { # zone lines: made, installed, booted
    printf '%s\n' "$2" | zone "$1"
    zoneadm -z "$1" boot || fail "$1 boots"
}
gone() { zoneadm -z "$1" halt; zoneadm -z "$1" uninstall -F >/dev/null; zonecfg -z "$1" delete -F; }
take() { echo "exec python3 -c 'x = b\"z\" * ($1 << 20)'"; } # MB: the command that uses so much memory
# within PERCENT OF WANTED GOT
within() { [ $((100 * $3)) -ge $(($2 * (100 - $1))) ] && [ $((100 * $3)) -le $(($2 * (100 + $1))) ]; }

limited half $'add capped-cpu\nset ncpus=0.5\nend'
gives "capped-cpu is a quota" "50000 100000" cat "$(group half)/cpu.max"
before=$(used half) start=$(now)
zlogin half "$busy" >/dev/null 2>&1
took=$((($(now) - start) / 1000)) spent=$(($(used half) - before))
good "four busy processes get half a cpu ($spent of $took us)" [ $((spent * 100)) -le $((took * 56)) ]
gone half
good "nothing is left of its cgroup" [ -z "$(group half)" ]

# Two zones on all cpus, with 100 and 300 shares.
limited one "set cpu-shares=100"
limited three "set cpu-shares=300"
gives "cpu-shares are weights" "100 300" eval 'echo $(cat $(group one)/cpu.weight) $(cat $(group three)/cpu.weight)'
zlogin one "$busy" >/dev/null 2>&1 &
a=$!
zlogin three "$busy" >/dev/null 2>&1 &
b=$!
sleep 1
one=$(used one) three=$(used three)
sleep 3
one=$(($(used one) - one)) three=$(($(used three) - three))
wait $a $b
good "they share the cpus 1:3 within 10 % ($one : $three us)" within 10 $((3 * one)) "$three"
gone one
gone three

cpus=$(nproc)
limited alone $'add dedicated-cpu\nset ncpus=1\nend'
gives "a zone with a cpu of its own sees that one" 1 zlogin alone nproc
gives "the host has one less" $((cpus - 1)) nproc
printf 'create\nset zonepath=/zones/greedy\nadd dedicated-cpu\nset ncpus=%s\nend\n' "$cpus" | zonecfg -z greedy
refused "the last cpu stays with the host" "can be given away now" zoneadm -z greedy install
printf 'select dedicated-cpu\nset ncpus=%s\nend\n' $((cpus - 1)) | zonecfg -z greedy
good "what another zone has now hinders no install" zoneadm -z greedy install
refused "but the boot, and is said" "can be given away now" zoneadm -z greedy boot
gone alone
gives "at halt it comes back" "$cpus" nproc
good "and another zone can have it" zoneadm -z greedy boot
gone greedy

limited hog $'add capped-memory\nset physical=64M\nend'
before=$(sed -n 's/^oom_kill //p' /sys/fs/cgroup/zones/hog/memory.events)
gives "a process that takes 200 MB of a zone's 64 MB is killed" 137 eval 'zlogin hog "$(take 200)"; echo $?'
good "inside the zone's group" [ "$(sed -n 's/^oom_kill //p' /sys/fs/cgroup/zones/hog/memory.events)" -gt "${before:-0}" ]
gives "the zone lives" running state hog
good "32 MB are no harm" zlogin hog "$(take 32)"
gone hog

dd if=/dev/zero of=/swap bs=1M count=256 status=none && chmod 600 /swap && mkswap -q /swap >/dev/null && swapon /swap
swapped() { awk '$1 == "pswpout" { print $2 }' /proc/vmstat; }
limited dry $'add capped-memory\nset physical=64M\nend'
before=$(swapped)
gives "without swap in the spec a zone at its cap is killed" 137 eval 'zlogin dry "$(take 100)"; echo $?'
gives "and the host does not swap" "$before" swapped
gone dry
limited wet $'add capped-memory\nset physical=64M\nset swap=64M\nend'
good "with swap it may use so much more" zlogin wet "$(take 100)"
gives "and no more" 137 eval 'zlogin wet "$(take 160)"; echo $?'
gone wet
swapoff /swap; rm -f /swap

lock() { # MB: the command that locks so much
    echo "exec python3 -c 'import ctypes, mmap, sys
m = mmap.mmap(-1, $1 << 20)
a = ctypes.addressof(ctypes.c_char.from_buffer(m))
sys.exit(7 if ctypes.CDLL(None).mlock(ctypes.c_void_p(a), $1 << 20) else 0)'"
}
limited locked $'add capped-memory\nset locked=4M\nend'
good "2 MB can be locked below a limit of 4" zlogin locked "$(lock 2)"
gives "8 MB cannot" 7 eval 'zlogin locked "$(lock 8)"; echo $?'
bad "nor can the zone's root raise the limit" zlogin locked 'ulimit -Hl unlimited'
gone locked

# A fork bomb, and the host beside it.
limited bomb 'set max-processes=100'
gives "max-processes is a number of tasks" 100 cat "$(group bomb)/pids.max"
median() { for i in 1 2 3 4 5 6 7 8 9; do s=$(now); zoneadm list -cv >/dev/null; echo $((($(now) - s) / 1000)); done | sort -n | sed -n 5p; }
idle=$(median)
zlogin bomb 'b() { b | b & }; b; sleep 8' >/dev/null 2>&1 &
bomb=$!
sleep 2
during=$(median)
good "the bomb goes no further than the limit" [ "$(cat "$(group bomb)/pids.current")" -le 100 ]
good "and has reached it" [ "$(sed -n 's/^max //p' "$(group bomb)/pids.events")" -gt 0 ]
good "zoneadm list takes at most twice its idle time beside it ($idle, $during us)" [ "$during" -le $((2 * idle)) ]
good "the zone can be halted" zoneadm -z bomb halt
wait $bomb
gone bomb 2>/dev/null

limited ipc $'set max-shm-memory=1M\nset max-shm-ids=2\nset max-msg-ids=2\nset max-sem-ids=2'
bad "a segment beyond max-shm-memory" zlogin ipc ipcmk -M 2097152
good "one below it" zlogin ipc ipcmk -M 4096
good "a second" zlogin ipc ipcmk -M 4096
bad "a third, beyond max-shm-ids" zlogin ipc ipcmk -M 4096
good "two queues" zlogin ipc 'ipcmk -Q && ipcmk -Q'
bad "a third, beyond max-msg-ids" zlogin ipc ipcmk -Q
good "two semaphore sets" zlogin ipc 'ipcmk -S 1 && ipcmk -S 1'
bad "a third, beyond max-sem-ids" zlogin ipc ipcmk -S 1
bad "nor can root of the zone raise it" zlogin ipc 'echo 100 >/proc/sys/kernel/shmmni'
good "message queues of POSIX are there" zlogin ipc 'mkdir -p /dev/mqueue && touch /dev/mqueue/q && rm /dev/mqueue/q'
gone ipc

# A control written as rctl does the same as its alias.
limited rctl $'add rctl\nset name=zone.max-lwps\nadd value (priv=privileged,limit=150,action=deny)\nend\nadd rctl\nset name=zone.cpu-cap\nadd value (priv=privileged,limit=70,action=deny)\nend'
gives "rctl zone.max-lwps" 150 cat "$(group rctl)/pids.max"
gives "rctl zone.cpu-cap" "70000 100000" cat "$(group rctl)/cpu.max"
gone rctl

# The zone's root cannot change its limits.
limited caged $'set max-lwps=200\nadd capped-memory\nset physical=128M\nend'
for file in pids.max memory.max cgroup.max.depth; do
    refused "the zone cannot write its own $file" denied zlogin caged "echo max >/sys/fs/cgroup/$file"
done
good "it may make groups of its own" zlogin caged 'mkdir /sys/fs/cgroup/sub && rmdir /sys/fs/cgroup/sub'
zoneadm -z caged halt
mkdir /sys/fs/cgroup/web && echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control; echo 0 >/sys/fs/cgroup/web/cpuset.cpus
echo 'set pool=web' | zonecfg -z caged
good "a zone in a pool boots" zoneadm -z caged boot
gives "and runs on its cpus" 1 zlogin caged nproc
zoneadm -z caged halt
echo 'set pool=nowhere' | zonecfg -z caged
refused "a pool that is not there is named" "could not verify pool 'nowhere'" zoneadm -z caged boot
echo 'clear pool' | zonecfg -z caged
gone caged
rmdir /sys/fs/cgroup/web

# What zonestat shows is what the groups say.
limited seen $'set max-processes=120\nadd capped-cpu\nset ncpus=0.5\nend\nadd capped-memory\nset physical=64M\nset swap=64M\nend'
zlogin seen "exec python3 -c '
x = b\"z\" * (30 << 20)
while True: pass'" >/dev/null 2>&1 &
seen=$!
sleep 2
line=$(zonestat -p -z seen 2 1)
IFS=: read -r _ cpu cap memory memory_cap _ swap_cap tasks tasks_cap _ <<<"$line"
gives "zonestat shows the limits" "50 67108864 67108864 120" echo "$cap" "$memory_cap" "$swap_cap" "$tasks_cap"
good "and half a cpu in use ($cpu)" [ "$cpu" -ge 44 ] && [ "$cpu" -le 56 ]
good "30 MB and more ($memory)" [ "$memory" -ge $((30 << 20)) ]
good "and its processes ($tasks)" [ "$tasks" -ge 2 ]
gone seen
wait $seen 2>/dev/null
