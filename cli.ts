/**
 * The command line `holdfast`: a command under a lock, and a look at the locks there are.
 *
 * ```sh
 * deno run -A jsr:@holdfast/lock/cli run backup -- pg_dump --file=backup.sql app
 * npx @holdfast/lock run --try --at-least 60s hourly -- ./report.sh
 * bunx @holdfast/lock ls
 * ```
 *
 * | command | what it does |
 * |---|---|
 * | `run KEY... -- COMMAND ARG...` | waits for the lock, runs the command, gives the lock back |
 * | `ls [PREFIX]` | lists the keys that somebody holds or waits for |
 * | `inspect KEY...` | shows who holds and who waits, in the order of the queue |
 * | `watch KEY...` | a line for each grant and each end of a hold, from when it says that it watches |
 * | `steal KEY...` | takes the lock from its holder, and gives it to who waits |
 * | `doctor` | looks at the store and says what a lock there is worth, for a `--ttl` |
 *
 * `doctor` ends with status 1 if something makes locks unsafe. It changes nothing in the store, but takes and releases a
 * lock of its own.
 *
 * `holdfast help COMMAND` shows the options of a command, with examples. All take `--store URL`, as `connect()` does,
 * `--prefix PREFIX`, and `--json`: answers are then JSON, `watch` a line for each event, and what is said beside them
 * on the error output are lines of JSON too, each with a `type`.
 *
 * | variable | what it says |
 * |---|---|
 * | `HOLDFAST_STORE` | the URL of the store, without `--store`; it may have a password, which other users can read in arguments |
 * | `HOLDFAST_PREFIX` | the prefix, without `--prefix` |
 * | `HOLDFAST_DB` | the file of the default store, which is that of `@holdfast/lock` |
 * | `NO_COLOR`, `FORCE_COLOR` | no colours, or colours also where the output is no terminal |
 *
 * A key that begins with `-` stands behind a `--` of its own: `holdfast run -- -KEY -- COMMAND`.
 *
 * | exit status | of `run` |
 * |---|---|
 * | that of the command | 128 + n if signal n has ended it, 127 if there is no such program, 126 if it cannot be executed |
 * | 75 | the lock was not to be had, with `--try` at once, with `--wait` in that time |
 * | 76 | the lock was lost while the command ran, whatever came of the command |
 * | 69 | the store is away; for 10 s, unless `--wait` is less |
 * | 64 | bad usage |
 * | 128 + n | signal n came while it waited |
 *
 * An answer of the other commands that cannot be written, as on a disk that is full, is 74; that nobody reads it is 0.
 *
 * ## What `run` does with the command
 *
 * It is started as given, and no shell reads it, in a process group of its own. `HOLDFAST_KEY` and `HOLDFAST_TOKEN` are
 * set, the latter to the fencing token; with several keys also `HOLDFAST_TOKENS`, an object in JSON of a token for each.
 * Others see the host, the number of the process, the first word of the command without its folder, and when it asked;
 * `--metadata` adds to that, and cannot replace it.
 *
 * With `--at-least` the key stays taken for so long from the grant, however soon the command ends. Nothing renews it once
 * holdfast has ended, so its ttl is as long at least: a shorter `--ttl` is refused.
 *
 * On loss, by the lock's own deadline, every process of the group gets SIGTERM, and SIGKILL after `--grace` (5 s). A
 * stopped one is continued, to get it. What the command leaves running in its group when it has ended is ended in the
 * same way, before the lock is given back: nothing that was started under the lock goes on without it. A daemon that makes
 * a process group or session of its own escapes.
 *
 * If holdfast is killed by SIGKILL, is stopped, or is stuck for longer than the lock lasts, a watchdog does
 * the same instead: a small `sh` that is told at each renewal how long the lock lasts, and notices by the end
 * of a pipe that holdfast has gone. The lock of a killed holdfast stays taken for what is left of its ttl, at least
 * two thirds if the store answers: where `--grace` is shorter, nobody else has the lock before the command has ended.
 * Give a longer grace a longer `--ttl`. On a loss the grace always comes after the lock's end. Without an `sh`, as in
 * an image from scratch, there is no watchdog, and a warning says so. If both are killed, the command goes on: no
 * runtime can use `prctl` or control groups, which a service manager can. A command begins only when it is watched,
 * but for one that is given variables which some `sh` would not hand on, such as `a.b`.
 *
 * TERM, INT, HUP, QUIT, USR1, USR2, WINCH, TSTP and CONT are passed on, each time. Where the input and the output are a
 * terminal, and holdfast is in its foreground, an `sh` gives the command the terminal as a job of the session, so that
 * `/dev/tty` and the keys are the command's: Ctrl-C goes to it alone, Ctrl-Z stops it and then holdfast, `fg` and `bg`
 * continue both. Otherwise the command leads a session of its own. That has no terminal to ask for a password at, even if
 * it can read its input from one, which it cannot where holdfast is in the background: then it has no input, as from
 * `/dev/null`, so that it takes no keys from another job. For TSTP it gets SIGSTOP. While holdfast is stopped nothing is renewed, and a stopped
 * command whose lock is over is ended; give such a lock a `--ttl` that is long enough. Without a terminal holdfast does
 * not stop by TSTP, and goes on renewing. At a terminal some `sh` do not hand on such variables as `a.b`.
 *
 * As the first process of a container it gets every signal that is sent to the container. It does not ask for the status
 * of orphans, as an `init` does: where the command leaves many, `docker run --init` does it.
 *
 * Under `nohup` Node does not keep SIGHUP ignored, and it is passed on: use `setsid` or a service manager instead.
 *
 * Not on Windows, which has none of this; the other commands are.
 *
 * @module
 */
import { realpathSync } from "node:fs";
import process from "node:process";

/**
 * Does what the words of a command line say, without the name of the program; resolves with the exit status. What it has
 * to say goes to the output and the error output of the process, whose signals it hears. A bundle of one file that has this
 * module in it is the program `holdfast`: leave the module out of a bundle, as a package beside it.
 *
 * ```ts
 * import { main } from "@holdfast/lock/cli";
 *
 * console.log(await main(["--version"])); // the version, then 0
 * ```
 */
export async function main(words: readonly string[]): Promise<number> {
  const { execute } = await import("./internal/cli/program.ts");
  return await execute(words);
}

/** Whether this module is the program that was started, and not imported by one. */
function isProgram(): boolean {
  // Node knows it from 24.2 on.
  if (import.meta.main !== undefined) return import.meta.main;
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === import.meta.filename;
}

/** Some versions of Node say at each start that their SQLite is experimental: whoever runs a command can do nothing about it. */
function leaveOutExperiments(): void {
  const others = process.listeners("warning");
  process.removeAllListeners("warning").on("warning", (warning) => {
    if (warning.name !== "ExperimentalWarning") { for (const tell of others) tell(warning); }
  });
}

if (isProgram()) {
  leaveOutExperiments();
  process.exit(await main(process.argv.slice(2)));
}
