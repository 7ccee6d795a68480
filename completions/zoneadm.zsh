#compdef zoneadm
# zsh completion for zoneadm(8)

_zoneadm_zones() {
    local -a zones
    zones=(${(f)"$(zoneadm list -cn 2>/dev/null)"})
    _describe -t zones zone zones
}

_zoneadm() {
    local curcontext=$curcontext state line
    local -a commands
    commands=(
        'boot:start the zone'
        'halt:stop the zone at once'
        'help:show how a subcommand is called'
        'install:make the root of the zone'
        'list:list zones'
        'mark:declare the zone incomplete'
        'plan:print what a subcommand would do'
        'ready:set up everything but the processes'
        'reboot:halt and boot'
        'reclaim:give a dataset back to the host'
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
                list) _arguments '-c[all]' '-i[also installed]' '-n[without the host]' '-p[for scripts]' '-v[table]' '--json[as JSON]' ;;
                install) _arguments '-a[archive]:archive:_files' '-d[tree]:directory:_files -/' '-o[image layout]:directory:_files -/' '-s[suite]:suite: ' '-x[option]:option:(nodataset)' ;;
                reclaim) _arguments '-F[make what is found harmless and go on]' '1:dataset:(${(f)"$(zfs list -Ho name 2>/dev/null)"})' ;;
                uninstall) _arguments '-F[do not ask]' ;;
                shutdown) _arguments '-r[boot again]' ;;
                mark) _values state incomplete ;;
                plan) _values subcommand boot halt install ready reboot shutdown uninstall ;;
                help) _describe -t commands subcommand commands ;;
            esac
            ;;
    esac
}

_zoneadm "$@"
