# bash completion for zlogin(1)

_zlogin() {
    local cur prev zone= i
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -l | -e | -R) ((i++)) ;;
            -*) ;;
            *) zone=${COMP_WORDS[i]}; break ;;
        esac
    done
    if [[ -n $zone ]]; then
        COMPREPLY=($(compgen -c -- "$cur"))
        return
    fi
    case $prev in
        -l) COMPREPLY=($(compgen -u -- "$cur")) ;;
        -R) COMPREPLY=($(compgen -d -- "$cur")) ;;
        -e) ;;
        *)
            # Only the console can be reached before a zone runs.
            local known=-n
            [[ " ${COMP_WORDS[*]} " == *" -C "* ]] && known=-in
            COMPREPLY=($(compgen -W "-C -d -E -e -i -l -n -Q -R -S $(zoneadm list $known 2>/dev/null)" -- "$cur"))
            ;;
    esac
}
complete -F _zlogin zlogin
