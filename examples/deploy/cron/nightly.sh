#!/bin/sh
# One night of one job, for cron: keeps a log, tries again where that may help, and writes to a person only
# when one is needed.
#
#   nightly.sh JOB [OPTION OF batcher run]...
#
#   MAILTO         who is written to. Without it, or without a `mail` command, the letter goes to standard
#                  output, which cron mails as it can
#   NIGHTLY_LOGS   folder of the logs, one for each start               ~/.local/state/batcher
#   NIGHTLY_KEEP   days that they are kept                              30
#   NIGHTLY_AGAIN  a run that ends with 5 so many seconds after the start, or sooner, is tried again    7200
#   NIGHTLY_PAUSE  seconds before it is                                 1800
#   NIGHTLY_KILLED so often a run that was killed, or ended with 1, is started again at once: what it had in
#                  flight is paid for, and can be fetched for an hour      3
#
# Law: it ends with 0 when nobody is needed, else with batcher's own exit code. A night of which only old
# failures can be told, which were in an earlier letter, needs nobody.
set -u

if [ $# -eq 0 ]; then
    echo "usage: nightly.sh JOB [OPTION OF batcher run]..." >&2
    exit 2
fi
name=$(basename "$1")
name=${name%.*}
started=$(date +%s)
again_until=$((started + ${NIGHTLY_AGAIN:-7200}))
logs=${NIGHTLY_LOGS:-$HOME/.local/state/batcher}
log=$logs/$name-$(date -u +%Y%m%dT%H%M%SZ)-$$.log
killed=0

# Of the options of `batcher run`, those that say where its results lie.
output='' shard='' sandbox='' before=''
for word in "$@"; do
    case $before in
        -o | --output) output=$word ;;
        --shard) shard=$word ;;
    esac
    case $word in
        --output=*) output=${word#*=} ;;
        --shard=*) shard=${word#*=} ;;
        --sandbox) sandbox=yes ;;
    esac
    before=$word
done

status() {
    batcher status "$@" ${output:+-o "$output"} ${shard:+--shard "$shard"} ${sandbox:+--sandbox}
}

letter() {
    printf 'batcher run %s\nended with exit code %s: %s\n\n' "$*" "$code" "$why"
    tail -n 30 "$log"
    if [ "$code" -eq 1 ] || [ "$code" -ge 128 ]; then
        printf '\nWhere it stands, and until when what is in flight can be fetched:\n'
        status "$1" 2>&1
    fi
    printf '\nThe whole log: %s:%s\n' "$(uname -n)" "$log"
}

# Whether anything is new of what the last start told of. What cannot be read may be.
has_news() {
    report=$(status "$1" --json 2>>"$log") || return 0
    case $report in
        *'"news": {'*) echo "$report" | grep -q '"news": {[^}]*[1-9]' ;;
    esac
}

# A disk that takes no log takes no pictures either.
mkdir -p "$logs" && true >"$log" || exit 5
find "$logs" -type f -name "$name-*.log" -mtime "+${NIGHTLY_KEEP:-30}" -exec rm -f {} +

# A signal to all processes, as at a shutdown, reaches batcher by itself, which then fetches what is in
# flight; told a second time it would leave at once. So the signal is not passed on, but outlived.
trap : INT TERM

key=${SEGMIND_API_KEY_FILE:-}
while :; do
    if [ -n "$key" ] && [ -n "$(find -L "$key" -prune \( -perm -040 -o -perm -004 \) 2>/dev/null)" ]; then
        echo "$key can be read by others: chmod 600 $key" >>"$log"
        code=2
        break
    fi
    batcher run "$@" >>"$log" 2>&1
    code=$?
    case $code in
        5)
            [ "$(date +%s)" -lt "$again_until" ] || break
            sleep "${NIGHTLY_PAUSE:-1800}"
            ;;
        130 | 143) break ;;
        1 | 12[89] | 1[3-9]? | 2??)
            killed=$((killed + 1))
            [ "$killed" -le "${NIGHTLY_KILLED:-3}" ] || break
            echo "ended with exit code $code: started again, $killed of ${NIGHTLY_KILLED:-3} times" >>"$log"
            ;;
        *) break ;;
    esac
done

case $code in
    # All done; another run is at it; stopped by a signal.
    0 | 11 | 130 | 143) needed= ;;
    # Finished, with failures; out of time, the next night goes on.
    3 | 10) if has_news "$1"; then needed=yes; else needed=; fi ;;
    *) needed=yes ;;
esac
[ -n "$needed" ] || exit 0

case $code in
    1) why="an internal error" ;;
    2) why="the command, the manifest or the key file needs a change; nothing was called" ;;
    3) why="finished, but some tasks failed or are held as doubtful, or some rows were left out" ;;
    10) why="its time is over, and some tasks failed or some rows were left out; the next night goes on" ;;
    4) why="stopped by max_cost or max_cost_per, or by the account's credits" ;;
    5) why="stopped by the key, the model, the API or the disk; running again may help" ;;
    *) why="it was killed, or is not installed" ;;
esac
if [ -z "${MAILTO:-}" ] || ! letter "$@" | mail -s "batcher: $name: $why" "$MAILTO" 2>>"$log"; then
    letter "$@"
fi
exit "$code"
