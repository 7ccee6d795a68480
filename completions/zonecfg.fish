# fish completion for zonecfg(8)

set -l resources inherit-pkg-dir fs net anet device dedicated-cpu capped-cpu capped-memory virtual-cpu attr dataset admin rctl security-flags idmap rootzpool zpool suspend keysource verified-boot smf-dependency npiv ib-vhca
set -l properties zonename zonepath brand autoboot autoshutdown bootargs file-mac-profile pool limitpriv scheduling-class ip-type hostid tenant brand-aliases fs-allowed uuid global-time cpu-arch boot-priority host-compatible boot-disk-protection max-lwps max-processes max-shm-memory max-shm-ids max-msg-ids max-sem-ids cpu-shares zfs-io-priority

function __zonecfg_without
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        contains -- $word add cancel clear commit create delete diff end exit export help info log merge remove revert select set verify; and return 1
    end
    return 0
end

complete -c zonecfg -f
complete -c zonecfg -s z -x -a '(zoneadm list -cn 2>/dev/null)' -d Zone
complete -c zonecfg -s u -x -d 'Uuid of the zone'
complete -c zonecfg -s R -x -a '(__fish_complete_directories)' -d 'Alternate root'
complete -c zonecfg -n __zonecfg_without -s f -r -F -d 'File of commands'
complete -c zonecfg -n __zonecfg_without -a add -d 'Open a new resource'
complete -c zonecfg -n __zonecfg_without -a cancel -d 'Drop the open resource'
complete -c zonecfg -n __zonecfg_without -a clear -d 'Return a property to its default'
complete -c zonecfg -n __zonecfg_without -a commit -d 'Verify and save'
complete -c zonecfg -n __zonecfg_without -a create -d 'Begin a new configuration'
complete -c zonecfg -n __zonecfg_without -a delete -d 'Delete the configuration'
complete -c zonecfg -n __zonecfg_without -a diff -d 'Show what has changed'
complete -c zonecfg -n __zonecfg_without -a end -d 'Store the open resource'
complete -c zonecfg -n __zonecfg_without -a exit -d Leave
complete -c zonecfg -n __zonecfg_without -a export -d 'Print the commands that make this configuration'
complete -c zonecfg -n __zonecfg_without -a help -d 'Explain a word'
complete -c zonecfg -n __zonecfg_without -a info -d 'Show the configuration'
complete -c zonecfg -n __zonecfg_without -a log -d 'Show the revisions'
complete -c zonecfg -n __zonecfg_without -a merge -d 'Take in what somebody else has saved'
complete -c zonecfg -n __zonecfg_without -a remove -d 'Remove resources'
complete -c zonecfg -n __zonecfg_without -a revert -d 'Return to what is saved'
complete -c zonecfg -n __zonecfg_without -a select -d 'Open an existing resource'
complete -c zonecfg -n __zonecfg_without -a set -d 'Set a property'
complete -c zonecfg -n __zonecfg_without -a verify -d Check
complete -c zonecfg -n '__fish_seen_subcommand_from add remove select info help' -a "$resources"
complete -c zonecfg -n '__fish_seen_subcommand_from clear info help' -a "$properties"
complete -c zonecfg -n '__fish_seen_subcommand_from set' -a "$properties="
complete -c zonecfg -n '__fish_seen_subcommand_from create' -s b -d Blank
complete -c zonecfg -n '__fish_seen_subcommand_from create' -s t -x -d Template
complete -c zonecfg -n '__fish_seen_subcommand_from create' -s a -x -a '(__fish_complete_directories)' -d 'Detached zone'
complete -c zonecfg -n '__fish_seen_subcommand_from commit create delete exit remove revert' -s F -d 'Do not ask'
complete -c zonecfg -n '__fish_seen_subcommand_from export' -s f -r -F -d File
complete -c zonecfg -n '__fish_seen_subcommand_from export info' -s o -x -a 'toml json' -d Form
