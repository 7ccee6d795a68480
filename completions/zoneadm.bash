# bash completion for zoneadm(8), made from its table of subcommands

_zoneadm() {
    local cur prev word command= i
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            -z | -u | -R) ((i++)) ;;
            -*) ;;
            *) command=$word; break ;;
        esac
    done
    local commands="attach boot clone detach doctor halt help install list mark move plan ready reboot reclaim shift-ids shutdown uninstall verify"
    if [[ -z $command ]]; then
        case $prev in
            -z) COMPREPLY=($(compgen -W "$(zoneadm list -cn 2>/dev/null)" -- "$cur")) ;;
            -u) COMPREPLY=($(compgen -W "$(zoneadm list -cpn 2>/dev/null | sed 's/\\://g' | cut -d: -f5)" -- "$cur")) ;;
            -R) COMPREPLY=($(compgen -d -- "$cur")) ;;
            *) COMPREPLY=($(compgen -W "-z -u -R $commands" -- "$cur")) ;;
        esac
        return
    fi
    case $command in
        attach)
            case $prev in
                -n) COMPREPLY=($(compgen -f -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "-F -n -u -U" -- "$cur")) ;;
            esac
            ;;
        boot) COMPREPLY=($(compgen -W "-w --" -- "$cur")) ;;
        clone)
            case $prev in
                -m) COMPREPLY=($(compgen -W "copy" -- "$cur")) ;;
                -s) COMPREPLY=($(compgen -W "$(zfs list -Ho name -t snapshot 2>/dev/null)" -- "$cur")) ;;
                -c) COMPREPLY=($(compgen -f -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "-m -s --with-datasets -c $(zoneadm list -cn 2>/dev/null)" -- "$cur")) ;;
            esac
            ;;
        detach) COMPREPLY=($(compgen -W "-n" -- "$cur")) ;;
        doctor) COMPREPLY=($(compgen -W "--json" -- "$cur")) ;;
        help) COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
        install)
            case $prev in
                -a) COMPREPLY=($(compgen -f -- "$cur")) ;;
                -d) COMPREPLY=($(compgen -d -- "$cur")) ;;
                -o) COMPREPLY=($(compgen -d -- "$cur")) ;;
                -s) COMPREPLY=($(compgen -W "bookworm bullseye trixie sid stable testing" -- "$cur")) ;;
                -x) COMPREPLY=($(compgen -W "nodataset mirror= components= keyring=" -- "$cur")) ;;
                -c) COMPREPLY=($(compgen -f -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "-a -d -o -s -x -c" -- "$cur")) ;;
            esac
            ;;
        list) COMPREPLY=($(compgen -W "-c -i -n -p -v --json" -- "$cur")) ;;
        mark) COMPREPLY=($(compgen -W "incomplete" -- "$cur")) ;;
        move) COMPREPLY=($(compgen -d -- "$cur")) ;;
        plan) COMPREPLY=($(compgen -W "attach boot clone detach halt install move ready reboot shutdown uninstall" -- "$cur")) ;;
        reboot) COMPREPLY=($(compgen -W "-w --" -- "$cur")) ;;
        reclaim) COMPREPLY=($(compgen -W "-F $(zfs list -Ho name 2>/dev/null)" -- "$cur")) ;;
        shift-ids) COMPREPLY=($(compgen -W "-f $(zfs list -Ho name 2>/dev/null)" -- "$cur")) ;;
        shutdown) COMPREPLY=($(compgen -W "-t -r --" -- "$cur")) ;;
        uninstall) COMPREPLY=($(compgen -W "-F" -- "$cur")) ;;
    esac
}
complete -o filenames -F _zoneadm zoneadm
