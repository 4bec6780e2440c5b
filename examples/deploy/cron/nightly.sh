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
#
# Law: it ends with 0 when nobody is needed, else with batcher's own exit code.
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

letter() {
    printf 'batcher run %s\nended with exit code %s: %s\n\n' "$*" "$code" "$why"
    tail -n 30 "$log"
    printf '\nThe whole log: %s:%s\n' "$(uname -n)" "$log"
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
    if [ "$code" -ne 5 ] || [ "$(date +%s)" -ge "$again_until" ]; then
        break
    fi
    sleep "${NIGHTLY_PAUSE:-1800}"
done

case $code in
    # All done; out of time, the next night goes on; another run is at it; stopped by a signal.
    0 | 10 | 11 | 130 | 143) exit 0 ;;
    1) why="an internal error" ;;
    2) why="the command, the manifest or the key file needs a change; nothing was called" ;;
    3) why="finished, but some tasks failed or are held as doubtful, or some rows were left out" ;;
    4) why="stopped by max_cost, or by the account's credits" ;;
    5) why="stopped by the key, the model, the API or the disk; running again may help" ;;
    *) why="it was killed, or is not installed" ;;
esac
if [ -z "${MAILTO:-}" ] || ! letter "$@" | mail -s "batcher: $name: $why" "$MAILTO" 2>>"$log"; then
    letter "$@"
fi
exit "$code"
