import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../../cli.ts", import.meta.url));

/** Does not end by itself, and tells of its token first. */
const COMMAND = ["sh", "-c", 'echo "report: token $HOLDFAST_TOKEN"; exec sleep 60'];

/**
 * The command line beside the library: a command runs under a lock, somebody looks, takes the lock by force, and the
 * command is ended. Resolves with what must be true of that, and whether it is.
 */
export async function commands(env: NodeJS.ProcessEnv): Promise<[good: boolean, what: string][]> {
  const holder = holdfast("run", "report", "--", ...COMMAND);
  const said = text(holder.stderr!);
  const [begins] = await once(holder.stdout!, "data");
  process.stdout.write(`  ${begins}`);
  const seen = await answer("ls");
  const taken = await answer("steal", "report");
  const [status] = await once(holder, "close");
  process.stdout.write(`${indented(await said)}\n`);
  return [
    [/^report: token \d+$/m.test(`${begins}`), "a command ran under a lock, and knew its token"],
    [/^report +exclusive +1 +0$/m.test(seen) && taken !== "", "others saw who held it, and took it"],
    [status === 76, `the command was ended; holdfast's status was ${status}`],
  ];

  function holdfast(...words: string[]): ChildProcess {
    console.log(`\n  $ holdfast ${words.map((word) => /[ ;$]/.test(word) ? `'${word}'` : word).join(" ")}`);
    // A clean clone has no packages yet: Deno gets the two small ones that the command line needs.
    const args = "Deno" in globalThis
      ? ["run", "-A", "--quiet", "--node-modules-dir=none", "--no-lock", CLI]
      : [CLI];
    return spawn(process.execPath, [...args, ...words], { env, stdio: ["ignore", "pipe", "pipe"] });
  }

  async function answer(...words: string[]): Promise<string> {
    const child = holdfast(...words);
    const answered = await text(child.stdout!);
    process.stdout.write(indented(answered));
    return answered;
  }
}

function indented(lines: string): string {
  return lines.replace(/^(?=.)/gm, "  ");
}
