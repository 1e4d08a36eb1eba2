/**
 * What is done by `sh`, because no runtime can: POSIX scripts, the same for every command, which is never part of
 * a script but is in its arguments.
 */

/** Lets a command begin when a line has come by file descriptor 3, and never if holdfast is killed before. */
export const GATE = 'read -r go <&3 && exec "$@" 3>&-';

/**
 * Gives a command the terminal, in a process group of its own within the session, as an interactive shell does. It
 * speaks to holdfast by file descriptor 3: says the number of the group, waits for a line, and lets the command
 * begin. Says `stopped` and a status when the command has been stopped, and waits for `fg` or `bg`. Ends with the
 * command's status.
 *
 * The error output is the terminal's for the shell's own sake: some find the terminal by it alone. A key may come
 * when the shell has the terminal and the command not yet: that is passed on. A loop would end when a job is stopped,
 * hence the function that calls itself. From 145 to 150 are the statuses of who was stopped, on all systems.
 */
export const JOB = `
exec 4>&2 2>/dev/tty
trap 'kill -s INT -- "-$!"' INT
trap 'kill -s QUIT -- "-$!"' QUIT
set -m
sh -c 'read -r go <&3 && exec "$@" 3>&- 4>&-' "$0" "$@" 2>&4 &
echo "$!" >&3
turn() {
  if [ "$1" = bg ]; then bg %1 && wait "$!"; else fg %1; fi >/dev/null
  status=$?
  case $status in
    14[5-9] | 150) kill -s 0 "$!" 2>/dev/null || exit "$status" ;;
    *) exit "$status" ;;
  esac
  echo "stopped $status" >&3
  read -r place <&3 || exit
  turn "$place"
}
trap - INT QUIT
turn fg
`;

/**
 * Ends a process group that holdfast does not look after any more, because it was killed, stopped or is stuck. Its
 * arguments are the grace in seconds, the number of the group, and for how many seconds it waits for a line. A line says
 * for how many more, or that all is \`over\`. If none comes in time, and at the end of the input, it acts.
 */
export const WATCHDOG = `
grace=$1 group=$2 left=$3
end() {
  kill -s TERM -- "-$group" || return
  kill -s CONT -- "-$group"
  sleep "$grace"
  kill -s KILL -- "-$group"
}
until [ "$left" = over ]; do
  (
    trap 'kill "$nap"; exit' TERM
    sleep "$left" &
    nap=$!
    wait "$nap" && end
  ) &
  read -r left || left=
  kill "$!"
  if [ ! "$left" ]; then
    end
    exit
  fi
done
`;
