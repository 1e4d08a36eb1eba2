import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { RUNTIMES } from "./runner.ts";

/** A way to a server that takes longer. */
export interface Way extends AsyncDisposable {
  readonly port: number;
}

/** A proxy before a port, which adds so many milliseconds each way. */
export async function distance(port: number, ms: number): Promise<Way> {
  const file = fileURLToPath(new URL("far.ts", import.meta.url));
  const { binary, args } = RUNTIMES.node([file, `${port}`, `${ms}`]);
  const child = spawn(binary, args, { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  return {
    port: Number(line),
    async [Symbol.asyncDispose]() {
      const gone = once(child, "exit");
      child.stdin.end();
      await gone;
    },
  };
}
