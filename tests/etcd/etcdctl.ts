import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { binary } from "../servers/install.ts";
import { run } from "../servers/process.ts";

/** Runs `etcdctl` to its end. */
export async function etcdctl(url: string, ...args: string[]): Promise<string> {
  return await run(await binary("etcdctl"), ["--endpoints", url, ...args], { env: { ETCDCTL_API: "3" } });
}

/** `etcdctl lock`, which is Go's `concurrency.Mutex`. */
export interface GoLock {
  /** The key it holds; rejects if it ends without. */
  readonly held: Promise<string>;
  /** Gives up the lock, or the wait for it. */
  release(): Promise<void>;
  /** SIGKILL: nobody renews its lease any more. */
  kill(): Promise<void>;
}

/** Locks from outside; `ttl` in seconds. */
export async function goLock(url: string, name: string, ttl = 5): Promise<GoLock> {
  const child = spawn(await binary("etcdctl"), ["--endpoints", url, "lock", name, "--ttl", `${ttl}`], {
    env: { ...process.env, ETCDCTL_API: "3" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const held = Promise.withResolvers<string>();
  held.promise.catch(() => {});
  createInterface(child.stdout).once("line", held.resolve);
  void ended.then(() => held.reject(new Error("etcdctl lock has ended without the lock")));
  return {
    held: held.promise,
    async release() {
      child.kill("SIGINT");
      await ended;
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
