# bash completion for zonecfg(8)

_zonecfg() {
    local cur prev word command= i
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            -z | -u | -R | -f) ((i++)) ;;
            -*) ;;
            *) command=$word; break ;;
        esac
    done
    local commands="add cancel clear commit create delete diff end exit export help info log merge remove revert select set verify"
    local resources="inherit-pkg-dir fs net anet device dedicated-cpu capped-cpu capped-memory virtual-cpu attr dataset admin rctl security-flags idmap rootzpool zpool suspend keysource verified-boot smf-dependency npiv ib-vhca"
    local properties="zonename zonepath brand autoboot autoshutdown bootargs file-mac-profile pool limitpriv scheduling-class ip-type hostid tenant brand-aliases fs-allowed uuid global-time cpu-arch boot-priority host-compatible boot-disk-protection max-lwps max-processes max-shm-memory max-shm-ids max-msg-ids max-sem-ids cpu-shares zfs-io-priority"
    if [[ -z $command ]]; then
        case $prev in
            -z) COMPREPLY=($(compgen -W "$(zoneadm list -cn 2>/dev/null)" -- "$cur")) ;;
            -u) COMPREPLY=($(compgen -W "$(zoneadm list -cpn 2>/dev/null | sed 's/\\://g' | cut -d: -f5)" -- "$cur")) ;;
            -R) COMPREPLY=($(compgen -d -- "$cur")) ;;
            -f) COMPREPLY=($(compgen -f -- "$cur")) ;;
            *) COMPREPLY=($(compgen -W "-z -u -R -f $commands" -- "$cur")) ;;
        esac
        return
    fi
    case $command in
        add | remove | select) COMPREPLY=($(compgen -W "$resources" -- "$cur")) ;;
        set) COMPREPLY=($(compgen -S = -W "$properties" -- "$cur")); compopt -o nospace ;;
        clear) COMPREPLY=($(compgen -W "$properties" -- "$cur")) ;;
        info) COMPREPLY=($(compgen -W "-o toml json $properties $resources" -- "$cur")) ;;
        help) COMPREPLY=($(compgen -W "commands syntax usage $commands $properties $resources" -- "$cur")) ;;
        create) COMPREPLY=($(compgen -W "-F -b -t -a" -- "$cur")) ;;
        commit | delete | exit | revert) COMPREPLY=($(compgen -W "-F" -- "$cur")) ;;
        export)
            case $prev in
                -f) COMPREPLY=($(compgen -f -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "-f -o toml json" -- "$cur")) ;;
            esac
            ;;
    esac
}
complete -o filenames -F _zonecfg zonecfg
