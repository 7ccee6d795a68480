#!/bin/sh
# The commands of a zone's own: zonename is in every zone, the others are there with the built-in init.
# One file under all names; it needs nothing but the shell.
name=${0##*/}

usage() {
    echo "usage: $name $1" >&2
    exit 2
}

# Asks process 1: TERM ends the zone, INT restarts it.
ask() {
    # Process 1 ends all others first, and this one has done what it was asked for.
    trap '' HUP INT TERM
    kill -s "$1" 1 2>/dev/null && exit 0
    echo "$name: only root of the zone may do this" >&2
    exit 1
}

# Waits for a number of seconds, and says so.
delay() {
    case $1 in '' | *[!0-9]*) usage "$forms" ;; esac
    if [ "$1" -gt 0 ]; then
        echo "$name: in $1 seconds; an interrupt (^C) keeps the zone running"
        sleep "$1" || exit 1
    fi
}

# Sets `seconds` to the time from now until a clock time.
until_clock() {
    there=$(date +%H:%M:%S) || exit 1
    h=${1%%:*} m=${1#*:}
    case $h$m in '' | *[!0-9]*) usage "$forms" ;; esac
    H=${there%%:*} there=${there#*:} M=${there%%:*} S=${there#*:}
    seconds=$((((${h#0} * 60 + ${m#0}) * 60 - (${H#0} * 60 + ${M#0}) * 60 - ${S#0} + 172800) % 86400))
}

of_init() {
    forms='0|6'
    while getopts t:e: option; do
        [ "$option" != '?' ] || usage "$forms"
    done
    shift $((OPTIND - 1))
    case $1 in
        0) ask TERM ;;
        6) ask INT ;;
        1 | s | S)
            echo "$name: single user is a way to boot: zoneadm -z NAME reboot -- -s, on the host" >&2
            exit 1
            ;;
        [2345aAbBcCqQuU]) exit 0 ;; # That is how it runs, and there is nothing to be read again.
        *) usage "$forms" ;;
    esac
}

of_halt() {
    how=$1
    shift
    for word; do
        case $word in
            -w | --wtmp-only) exit 0 ;;
            --reboot) how=INT ;;
            -p | --poweroff | --halt) how=TERM ;;
            --help) usage '[-f] [-p] [--reboot]' ;;
        esac
    done
    ask "$how"
}

of_shutdown() {
    forms='[-r|-h|-P|-H] [-c] [-k] [now|+MINUTES|HH:MM] or -y [-g SECONDS] [-i 0|5|6]'
    how=TERM seconds='' kept=''
    for word; do
        shift
        case $word in
            --reboot) word=-r ;;
            --halt | --poweroff | --no-wall) continue ;;
            --help | --show) usage "$forms" ;;
        esac
        set -- "$@" "$word"
    done
    while getopts rhPHcknfFaqyt:g:i: option; do
        case $option in
            r) how=INT ;;
            c)
                echo "$name: what waits is ended by an interrupt (^C)" >&2
                exit 0
                ;;
            k) kept=1 ;;
            g) seconds=$OPTARG ;;
            i)
                case $OPTARG in
                    0 | 5) how=TERM ;;
                    6) how=INT ;;
                    *) usage "$forms" ;;
                esac
                ;;
            '?') usage "$forms" ;;
        esac
    done
    shift $((OPTIND - 1))
    case $1 in
        now) seconds=0 ;;
        +*) seconds=${1#+}
            case $seconds in '' | *[!0-9]*) usage "$forms" ;; esac
            seconds=$((seconds * 60)) ;;
        *:*) until_clock "$1" ;;
        '') ;;
        *) [ -n "$seconds" ] || usage "$forms" ;;
    esac
    [ -z "$kept" ] || exit 0
    delay "${seconds:-60}"
    ask "$how"
}

case $name in
    zonename)
        [ $# -eq 0 ] || usage ''
        IFS= read -r zone </dev/.zonename || exit 1
        echo "$zone"
        ;;
    init | telinit) of_init "$@" ;;
    halt | poweroff) of_halt TERM "$@" ;;
    reboot) of_halt INT "$@" ;;
    shutdown) of_shutdown "$@" ;;
esac
