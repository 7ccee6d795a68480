#compdef zonecfg
# zsh completion for zonecfg(8)

_zonecfg_zones() {
    local -a zones
    zones=(${(f)"$(zoneadm list -cn 2>/dev/null)"})
    _describe -t zones zone zones
}

_zonecfg() {
    local curcontext=$curcontext state line
    local -a commands resources properties
    commands=(
        'add:open a new resource'
        'cancel:drop the open resource'
        'clear:return a property to its default'
        'commit:verify and save'
        'create:begin a new configuration'
        'delete:delete the configuration'
        'diff:show what has changed'
        'end:store the open resource'
        'exit:leave'
        'export:print the commands that make this configuration'
        'help:explain a word'
        'info:show the configuration'
        'log:show the revisions'
        'merge:take in what somebody else has saved'
        'remove:remove resources'
        'revert:return to what is saved'
        'select:open an existing resource'
        'set:set a property'
        'verify:check'
    )
    resources=(inherit-pkg-dir fs net anet device dedicated-cpu capped-cpu capped-memory virtual-cpu attr dataset admin rctl security-flags idmap rootzpool zpool suspend keysource verified-boot smf-dependency npiv ib-vhca)
    properties=(zonename zonepath brand autoboot autoshutdown bootargs file-mac-profile pool limitpriv scheduling-class ip-type hostid tenant brand-aliases fs-allowed uuid global-time cpu-arch boot-priority host-compatible boot-disk-protection max-lwps max-processes max-shm-memory max-shm-ids max-msg-ids max-sem-ids cpu-shares zfs-io-priority)
    _arguments -C \
        '-z[zone]:zone:_zonecfg_zones' \
        '-u[uuid of the zone]:uuid: ' \
        '-R[alternate root]:directory:_files -/' \
        '-f[file of commands]:file:_files' \
        '1: :->command' \
        '*:: :->arguments' && return
    case $state in
        command) _describe -t commands subcommand commands ;;
        arguments)
            case $line[1] in
                add|remove|select) compadd -a resources ;;
                set) compadd -S = -a properties ;;
                clear) compadd -a properties ;;
                info) compadd -a properties; compadd -a resources; compadd -- -o toml json ;;
                create) _arguments '-F[overwrite]' '-b[blank]' '-t[template]:template: ' '-a[detached zone]:directory:_files -/' ;;
                commit|delete|exit|revert) _arguments '-F[do not ask]' ;;
                export) _arguments '-f[file]:file:_files' '-o[form]:form:(toml json)' ;;
                help) _describe -t commands subcommand commands; compadd -a properties; compadd -a resources ;;
            esac
            ;;
    esac
}

_zonecfg "$@"
