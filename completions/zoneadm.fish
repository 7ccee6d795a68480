# fish completion for zoneadm(8), made from its table of subcommands

function __zoneadm_without
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        contains -- $word attach boot clone detach doctor halt help install list mark move plan ready reboot reclaim shift-ids shutdown uninstall verify; and return 1
    end
    return 0
end

complete -c zoneadm -f
complete -c zoneadm -s z -x -a '(zoneadm list -cn 2>/dev/null)' -d Zone
complete -c zoneadm -s u -x -d 'Uuid of the zone'
complete -c zoneadm -s R -x -a '(__fish_complete_directories)' -d 'Alternate root'
complete -c zoneadm -n __zoneadm_without -a attach -d 'Take a detached zone into the care of this host'
complete -c zoneadm -n __zoneadm_without -a boot -d 'Start the zone'
complete -c zoneadm -n __zoneadm_without -a clone -d 'Make this zone from an installed one'
complete -c zoneadm -n __zoneadm_without -a detach -d 'Take the zone out of the care of this host'
complete -c zoneadm -n __zoneadm_without -a doctor -d 'Say what this host offers and lacks for zones'
complete -c zoneadm -n __zoneadm_without -a halt -d 'Stop the zone at once'
complete -c zoneadm -n __zoneadm_without -a help -d 'Show how a subcommand is called'
complete -c zoneadm -n __zoneadm_without -a install -d 'Make the root of the zone'
complete -c zoneadm -n __zoneadm_without -a list -d 'List zones'
complete -c zoneadm -n __zoneadm_without -a mark -d 'Declare the zone incomplete'
complete -c zoneadm -n __zoneadm_without -a move -d 'Give the zone another zonepath'
complete -c zoneadm -n __zoneadm_without -a plan -d 'Print what a subcommand would do'
complete -c zoneadm -n __zoneadm_without -a ready -d 'Set up everything but the processes'
complete -c zoneadm -n __zoneadm_without -a reboot -d 'Halt and boot'
complete -c zoneadm -n __zoneadm_without -a reclaim -d 'Give a dataset back to the host'
complete -c zoneadm -n __zoneadm_without -a shift-ids -d 'Give files of datasets the ids of the zone'
complete -c zoneadm -n __zoneadm_without -a shutdown -d 'Ask the zone to stop'
complete -c zoneadm -n __zoneadm_without -a uninstall -d 'Remove the root of the zone'
complete -c zoneadm -n __zoneadm_without -a verify -d 'Check the configuration against this host'
complete -c zoneadm -n '__fish_seen_subcommand_from attach' -s F -d 'Without any check'
complete -c zoneadm -n '__fish_seen_subcommand_from attach' -s n -r -F -d 'Check a manifest'
complete -c zoneadm -n '__fish_seen_subcommand_from attach' -s u -d 'Take what goes with the host'
complete -c zoneadm -n '__fish_seen_subcommand_from attach' -s U -d 'Take what goes with the host'
complete -c zoneadm -n '__fish_seen_subcommand_from boot' -s w -d 'With a writable root'
complete -c zoneadm -n '__fish_seen_subcommand_from clone' -s m -x -a copy -d Method
complete -c zoneadm -n '__fish_seen_subcommand_from clone' -s s -x -a '(zfs list -Ho name -t snapshot 2>/dev/null)' -d Snapshot
complete -c zoneadm -n '__fish_seen_subcommand_from clone' -l with-datasets -d 'Also the delegated datasets'
complete -c zoneadm -n '__fish_seen_subcommand_from clone' -s c -r -F -d Profile
complete -c zoneadm -n '__fish_seen_subcommand_from clone' -a '(zoneadm list -cn 2>/dev/null)'
complete -c zoneadm -n '__fish_seen_subcommand_from detach' -s n -d 'Print the manifest'
complete -c zoneadm -n '__fish_seen_subcommand_from doctor' -l json -d 'As JSON'
complete -c zoneadm -n '__fish_seen_subcommand_from help' -a 'attach boot clone detach doctor halt help install list mark move plan ready reboot reclaim shift-ids shutdown uninstall verify'
complete -c zoneadm -n '__fish_seen_subcommand_from install' -s a -r -F -d Archive
complete -c zoneadm -n '__fish_seen_subcommand_from install' -s d -x -a '(__fish_complete_directories)' -d Tree
complete -c zoneadm -n '__fish_seen_subcommand_from install' -s o -x -a '(__fish_complete_directories)' -d 'Image layout'
complete -c zoneadm -n '__fish_seen_subcommand_from install' -s s -x -a 'bookworm bullseye trixie sid stable testing' -d Suite
complete -c zoneadm -n '__fish_seen_subcommand_from install' -s x -x -a 'nodataset mirror= components= keyring=' -d Option
complete -c zoneadm -n '__fish_seen_subcommand_from install' -s c -r -F -d Profile
complete -c zoneadm -n '__fish_seen_subcommand_from list' -s c -d All
complete -c zoneadm -n '__fish_seen_subcommand_from list' -s i -d 'Also installed'
complete -c zoneadm -n '__fish_seen_subcommand_from list' -s n -d 'Without the host'
complete -c zoneadm -n '__fish_seen_subcommand_from list' -s p -d 'For scripts'
complete -c zoneadm -n '__fish_seen_subcommand_from list' -s v -d Table
complete -c zoneadm -n '__fish_seen_subcommand_from list' -l json -d 'As JSON'
complete -c zoneadm -n '__fish_seen_subcommand_from mark' -a incomplete
complete -c zoneadm -n '__fish_seen_subcommand_from move' -a '(__fish_complete_directories)'
complete -c zoneadm -n '__fish_seen_subcommand_from plan' -a 'attach boot clone detach halt install move ready reboot shutdown uninstall'
complete -c zoneadm -n '__fish_seen_subcommand_from reboot' -s w -d 'With a writable root'
complete -c zoneadm -n '__fish_seen_subcommand_from reclaim' -s F -d 'Make what is found harmless and go on'
complete -c zoneadm -n '__fish_seen_subcommand_from reclaim' -a '(zfs list -Ho name 2>/dev/null)'
complete -c zoneadm -n '__fish_seen_subcommand_from shift-ids' -s f -x -d 'First of the ids that are replaced'
complete -c zoneadm -n '__fish_seen_subcommand_from shift-ids' -a '(zfs list -Ho name 2>/dev/null)'
complete -c zoneadm -n '__fish_seen_subcommand_from shutdown' -s t -x -d 'Seconds to wait'
complete -c zoneadm -n '__fish_seen_subcommand_from shutdown' -s r -d 'Boot again'
complete -c zoneadm -n '__fish_seen_subcommand_from uninstall' -s F -d 'Do not ask'
