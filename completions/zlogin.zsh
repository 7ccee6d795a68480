#compdef zlogin
# zsh completion for zlogin(1)

_zlogin_zones() {
    local -a zones
    # Only the console can be reached before a zone runs.
    if (( ${words[(I)-C]} )); then
        zones=(${(f)"$(zoneadm list -in 2>/dev/null)"})
    else
        zones=(${(f)"$(zoneadm list -n 2>/dev/null)"})
    fi
    _describe -t zones zone zones
}

_zlogin() {
    _arguments \
        '-C[console]' \
        '-d[leave the console when the zone halts]' \
        '-E[no escapes]' \
        '-e[escape character]:character: ' \
        '-i[a terminal also for a command]' \
        '-l[user]:user:_users' \
        '-n[no standard input]' \
        '-Q[no messages]' \
        '-R[alternate root]:directory:_files -/' \
        '-S[safe login]' \
        '1:zone:_zlogin_zones' \
        '*::command:_normal'
}

_zlogin "$@"
