# fish completion for zlogin(1)

function __zlogin_zones
    # Only the console can be reached before a zone runs.
    if contains -- -C (commandline -opc)
        zoneadm list -in 2>/dev/null
    else
        zoneadm list -n 2>/dev/null
    end
end

complete -c zlogin -f
complete -c zlogin -s C -d Console
complete -c zlogin -s d -d 'Leave the console when the zone halts'
complete -c zlogin -s E -d 'No escapes'
complete -c zlogin -s e -x -d 'Escape character'
complete -c zlogin -s i -d 'A terminal also for a command'
complete -c zlogin -s l -x -a '(__fish_complete_users)' -d User
complete -c zlogin -s n -d 'No standard input'
complete -c zlogin -s Q -d 'No messages'
complete -c zlogin -s R -x -a '(__fish_complete_directories)' -d 'Alternate root'
complete -c zlogin -s S -d 'Safe login'
complete -c zlogin -a '(__zlogin_zones)' -d Zone
