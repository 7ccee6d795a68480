#compdef zoneadm
# zsh completion for zoneadm(8), made from its table of subcommands

_zoneadm_zones() {
    local -a zones
    zones=(${(f)"$(zoneadm list -cn 2>/dev/null)"})
    _describe -t zones zone zones
}

_zoneadm() {
    local curcontext=$curcontext state line
    local -a commands
    commands=(
        'attach:take a detached zone into the care of this host'
        'boot:start the zone'
        'clone:make this zone from an installed one'
        'detach:take the zone out of the care of this host'
        'doctor:say what this host offers and lacks for zones'
        'halt:stop the zone at once'
        'help:show how a subcommand is called'
        'install:make the root of the zone'
        'list:list zones'
        'mark:declare the zone incomplete'
        'move:give the zone another zonepath'
        'plan:print what a subcommand would do'
        'ready:set up everything but the processes'
        'reboot:halt and boot'
        'reclaim:give a dataset back to the host'
        'shift-ids:give files of datasets the ids of the zone'
        'shutdown:ask the zone to stop'
        'uninstall:remove the root of the zone'
        'verify:check the configuration against this host'
    )
    _arguments -C \
        '-z[zone]:zone:_zoneadm_zones' \
        '-u[uuid of the zone]:uuid: ' \
        '-R[alternate root]:directory:_files -/' \
        '1: :->command' \
        '*:: :->arguments' && return
    case $state in
        command) _describe -t commands subcommand commands ;;
        arguments)
            case $line[1] in
                attach) _arguments '-F[without any check]' '-n[check a manifest]:path:_files' '-u[take what goes with the host]' '-U[take what goes with the host]' ;;
                boot) _arguments '-w[with a writable root]' ;;
                clone) _arguments '-m[method]:copy:(copy)' '-s[snapshot]:snapshot:(${(f)"$(zfs list -Ho name -t snapshot 2>/dev/null)"})' '--with-datasets[also the delegated datasets]' '-c[profile]:profile:_files' '1:zonename:_zoneadm_zones' ;;
                detach) _arguments '-n[print the manifest]' ;;
                doctor) _arguments '--json[as JSON]' ;;
                help) _describe -t commands subcommand commands ;;
                install) _arguments '-a[archive]:archive:_files' '-d[tree]:directory:_files -/' '-o[image layout]:layout:_files -/' '-s[suite]:suite:(bookworm bullseye trixie sid stable testing)' '*-x[option]:option:(nodataset mirror= components= keyring=)' '-c[profile]:profile:_files' ;;
                list) _arguments '-c[all]' '-i[also installed]' '-n[without the host]' '-p[for scripts]' '-v[table]' '--json[as JSON]' ;;
                mark) _arguments '1:state:(incomplete)' ;;
                move) _arguments '1:zonepath:_files -/' ;;
                plan) _arguments '1:subcommand:(attach boot clone detach halt install move ready reboot shutdown uninstall)' ;;
                reboot) _arguments '-w[with a writable root]' ;;
                reclaim) _arguments '-F[make what is found harmless and go on]' '1:dataset:(${(f)"$(zfs list -Ho name 2>/dev/null)"})' ;;
                shift-ids) _arguments '-f[first of the ids that are replaced]:first: ' '1:dataset:(${(f)"$(zfs list -Ho name 2>/dev/null)"})' ;;
                shutdown) _arguments '-t[seconds to wait]:seconds: ' '-r[boot again]' ;;
                uninstall) _arguments '-F[do not ask]' ;;
            esac
            ;;
    esac
}

_zoneadm "$@"
