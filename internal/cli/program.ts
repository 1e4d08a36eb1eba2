/** What can be typed: the commands, their options, and the help. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import manifest from "../../deno.json" with { type: "json" };
import type { LockManager } from "../manager.ts";
import type { Json } from "../options.ts";
import type { DoctorOptions } from "./doctor.ts";
import { DURATIONS, LONGEST, parseDuration, showDuration } from "./durations.ts";
import { Output } from "./output.ts";
import { inspect, ls, steal, watch } from "./queries.ts";
import { OWN, run, type RunOptions } from "./run.ts";
import { messageOf, STATUS, statusFor, UsageError } from "./status.ts";
import { type Common, open } from "./store.ts";

/** Milliseconds, the longest ttl. */
const DAY = 86_400_000;

/** Does what the words say; resolves with the exit status. */
export async function execute(words: readonly string[]): Promise<number> {
  let status: number = STATUS.ok;
  /** The help or the version. */
  let shown = "";
  const program = commands(words, (done) => status = done, (text) => shown += text);
  try {
    await program.parseAsync(words, { from: "user" }).catch((error) => {
      if (!(error instanceof CommanderError && error.exitCode === 0)) throw error;
    });
    if (shown !== "") await new Output(false).answer(shown.trimEnd().split("\n"), shown);
    return status;
  } catch (error) {
    // By who has typed no command, the help was not asked for, and has been said.
    if (error instanceof CommanderError && error.code === "commander.help") return STATUS.usage;
    const wrong = error instanceof CommanderError ? new UsageError(error.message) : error;
    const message = messageOf(wrong).replace(/^error: /, "");
    const output = new Output(program.opts<Common>().json === true);
    await output.tell(message, { type: "error", message });
    return statusFor(wrong);
  }
}

function commands(
  words: readonly string[],
  done: (status: number) => void,
  show: (text: string) => void,
): Command {
  const program = new Command("holdfast")
    .description("Distributed locks that know when they are lost.")
    .version(manifest.version, "--version", "show the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand(false)
    .option(
      "--store <url>",
      "where the locks are, such as redis://host:6379 (HOLDFAST_STORE; else a local file)",
    )
    .option("--prefix <prefix>", 'what stands before every key (HOLDFAST_PREFIX; else "holdfast")')
    .option("--json", "write lines of JSON")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: show, outputError: () => {} })
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText("after", examples("run --try nightly-report -- ./report.sh", "ls", "help run"));

  const add = (usage: string, summary: string, ...shown: string[]) =>
    program.command(usage).summary(summary).description(summary)
      .copyInheritedSettings(program).addHelpText("after", examples(...shown));

  add("run", "run a command under a lock", ...RUN_EXAMPLES)
    .argument("<key...>", "what to lock; several keys: all or none")
    .usage("[options] KEY... -- COMMAND [ARG...]")
    .addOption(new Option("--try", "do not wait: end with status 75 if somebody holds it").conflicts("wait"))
    .option("--wait <time>", "wait so long at most, such as 30s; then end with status 75", duration(1))
    .addOption(new Option("--shared", "hold it together with others that share it").conflicts("limit"))
    .option("--limit <n>", "at most n hold it at once", whole)
    .option(
      "--ttl <time>",
      "how long the store keeps it for a holder that has gone (default: 10s)",
      duration(1, DAY),
    )
    .option(
      "--at-least <time>",
      "keep it taken for so long from its start, however soon the command ends; the ttl is then as long at least",
      duration(0, DAY),
    )
    .addOption(
      new Option("--grace <time>", "on loss, from SIGTERM to SIGKILL").argParser(duration(0)).default(
        5_000,
        "5s",
      ),
    )
    .option(
      "--metadata <json>",
      `an object that others see, beside ${OWN.slice(0, -1).join(", ")} and ${OWN.at(-1)}`,
      object,
    )
    .option("-q, --quiet", "say nothing of waiting")
    .addHelpText("after", RUN_NOTES)
    .action(async (operands: string[], _: unknown, command: Command) => {
      const [keys, rest] = split(operands, words);
      done(await run(keys, rest, command.optsWithGlobals<RunOptions>()));
    });

  const asking =
    (ask: (locks: LockManager, keys: string[], output: Output) => Promise<number>) =>
    async (given: string | string[] | undefined, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<Common>();
      const locks = open(options);
      try {
        done(await ask(locks, [given ?? ""].flat(), new Output(options.json === true)));
      } finally {
        await locks.close();
      }
    };

  add("ls", "list the keys that somebody holds or waits for", "ls", "ls invoice: --json")
    .argument("[prefix]", "only keys that begin with it")
    .action(asking((locks, [start], output) => ls(locks, start!, output)));
  add("inspect", "show who holds and who waits", "inspect invoice:42", "inspect invoice:42 --json")
    .argument("<key...>", "what to look at")
    .action(asking(inspect));
  add("watch", "show each grant and each end of a hold as it happens", "watch invoice:42", "watch a b --json")
    .argument("<key...>", "what to watch")
    .action(asking(watch));
  add("steal", "take a lock from its holder, and give it to who waits", "steal invoice:42")
    .argument("<key...>", "what to free")
    .action(asking(steal));
  add("doctor", "say what a lock in the store is worth", "doctor", "doctor --store redis://host --ttl 30s")
    .option("--ttl <time>", "for which ttl (default: 10s)", duration(1, DAY))
    .addHelpText("after", "\nExit status: 1 if something makes locks unsafe, 69 if the store is away.")
    .action(async (_: unknown, command: Command) => {
      const options = command.optsWithGlobals<DoctorOptions>();
      const { doctor } = await import("./doctor.ts");
      done(await doctor(options, new Output(options.json === true)));
    });
  add("help", "show the help of a command", "help run")
    .argument("[command]", "which")
    .action((name?: string) => {
      const all = program.commands.map((each) => each.name());
      const about = name === undefined ? program : program.commands[all.indexOf(name)];
      if (about === undefined) throw new UsageError(`unknown command '${name}'; there are ${all.join(", ")}`);
      about.outputHelp();
    });
  return program;
}

const RUN_EXAMPLES = [
  "run backup -- pg_dump --file=backup.sql app",
  "run --try --at-least 60s hourly -- ./report.sh",
  "run --limit 3 --wait 5m exports -- ./export.sh invoices",
];

const RUN_NOTES = `
Exit status: that of the command, 128 + n if signal n ended it; 75 if the lock was not to be had, 76 if it was
lost, 69 if the store is away, 64 for bad usage, 126 and 127 if the command cannot be executed or is not there.
The command finds HOLDFAST_KEY and HOLDFAST_TOKEN in its environment.
If holdfast is killed, its lock stays taken for the rest of the ttl: give a long --grace a longer --ttl.
Keys that begin with "-" stand behind a "--" of their own: holdfast run -- -KEY -- COMMAND`;

function examples(...shown: string[]): string {
  const lines = shown.map((each) => `  holdfast ${each}`);
  return `\n${lines.length > 1 ? "Examples" : "Example"}:\n${lines.join("\n")}`;
}

/** The keys, and the command after the first "--"; after the second, if no key stands before the first. */
function split(operands: readonly string[], words: readonly string[]): [keys: string[], command: string[]] {
  const at = words.indexOf("--");
  const rest = at < 0 ? [] : words.slice(at + 1);
  const before = operands.slice(0, operands.length - rest.length);
  const next = before.length > 0 ? -1 : rest.indexOf("--");
  const keys = next < 0 ? before : rest.slice(0, next);
  const command = rest.slice(next + 1);
  if (!command[0]) {
    throw new UsageError(
      'Expected a command after the keys and "--", as in: holdfast run KEY -- COMMAND ARG',
    );
  }
  if (keys.length === 0) {
    throw new UsageError('Expected at least one key before "--", as in: holdfast run KEY -- COMMAND ARG');
  }
  return [keys, command];
}

/** Reads an option that is a duration of so many milliseconds. */
function duration(least: number, most: number = LONGEST): (text: string) => number {
  return (text) => {
    const ms = parseDuration(text);
    if (ms !== undefined && ms >= least && ms <= most) return ms;
    const range = `from ${showDuration(least)} to ${showDuration(most)}`;
    throw new InvalidArgumentError(`Expected ${DURATIONS}, ${range}.`);
  };
}

function whole(text: string): number {
  if (/^[1-9]\d*$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw new InvalidArgumentError("Expected a whole number from 1.");
}

function object(text: string): Readonly<Record<string, Json>> {
  try {
    const value: Json = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      if (OWN.every((name) => !Object.hasOwn(value, name))) return value as Readonly<Record<string, Json>>;
    }
  } catch {
    // Said below.
  }
  const own = `without ${OWN.join(", ")}, which holdfast says`;
  throw new InvalidArgumentError(`Expected a JSON object, such as '{"job":"backup"}', ${own}.`);
}
