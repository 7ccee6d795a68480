# bash completion for zoneadm(8)

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
        list) COMPREPLY=($(compgen -W "-c -i -n -p -v --json" -- "$cur")) ;;
        doctor) COMPREPLY=($(compgen -W "--json" -- "$cur")) ;;
        help) COMPREPLY=($(compgen -W "$commands" -- "$cur")) ;;
        plan) COMPREPLY=($(compgen -W "attach boot clone detach halt install move ready reboot shutdown uninstall" -- "$cur")) ;;
        mark) COMPREPLY=($(compgen -W "incomplete" -- "$cur")) ;;
        reclaim) COMPREPLY=($(compgen -W "-F $(zfs list -Ho name 2>/dev/null)" -- "$cur")) ;;
        shift-ids) COMPREPLY=($(compgen -W "-f $(zfs list -Ho name 2>/dev/null)" -- "$cur")) ;;
        clone)
            case $prev in
                -c) COMPREPLY=($(compgen -f -- "$cur")) ;;
                -m) COMPREPLY=($(compgen -W "copy" -- "$cur")) ;;
                -s) COMPREPLY=($(compgen -W "$(zfs list -Ho name -t snapshot 2>/dev/null)" -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "-m -s -c --with-datasets $(zoneadm list -cn 2>/dev/null)" -- "$cur")) ;;
            esac
            ;;
        move) COMPREPLY=($(compgen -d -- "$cur")) ;;
        detach) COMPREPLY=($(compgen -W "-n" -- "$cur")) ;;
        attach)
            case $prev in
                -n) COMPREPLY=($(compgen -f -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "-F -n -u -U" -- "$cur")) ;;
            esac
            ;;
        uninstall) COMPREPLY=($(compgen -W "-F" -- "$cur")) ;;
        shutdown) COMPREPLY=($(compgen -W "-r -t --" -- "$cur")) ;;
        boot | reboot) COMPREPLY=($(compgen -W "-w --" -- "$cur")) ;;
        install)
            case $prev in
                -a | -c) COMPREPLY=($(compgen -f -- "$cur")) ;;
                -d | -o) COMPREPLY=($(compgen -d -- "$cur")) ;;
                -s) COMPREPLY=($(compgen -W "bookworm bullseye trixie sid stable testing" -- "$cur")) ;;
                -x) COMPREPLY=($(compgen -W "nodataset mirror= components= keyring=" -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "-a -c -d -o -s -x" -- "$cur")) ;;
            esac
            ;;
    esac
}
complete -o filenames -F _zoneadm zoneadm
