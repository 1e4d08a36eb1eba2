import { type ChildProcess, spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { binary } from "../servers/install.ts";

/** A process of Java's Curator, the library most users of ZooKeeper lock with. */
export class Curator implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  /** Resolves once it is connected. */
  static async start(address: string): Promise<Curator> {
    await binary("javac"); // java compiles the file itself, if the compiler is there
    const [java, jar, recipes] = await Promise.all([
      binary("java"),
      binary("zookeeper.jar"),
      binary("curator-recipes.jar"),
    ]);
    const folder = dirname(recipes);
    const jars = ["curator-framework.jar", "curator-client.jar", "guava.jar"].map((name) =>
      join(folder, name)
    );
    const source = fileURLToPath(new URL("CuratorPeer.java", import.meta.url));
    const child = spawn(java, [
      "-Xmx128m",
      "-XX:+UseSerialGC",
      "-XX:TieredStopAtLevel=1",
      "-cp",
      [jar, recipes, ...jars].join(":"),
      source,
      address,
    ], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    let complaints = "";
    child.stderr!.on("data", (text) => complaints += text);
    const curator = new Curator(child);
    if (await curator.#answer() !== "ready") throw new Error(`Cannot start Curator:\n${complaints}`);
    return curator;
  }

  /** Waits for an `InterProcessMutex` at the path; `false`: not within so many milliseconds. */
  async acquire(path: string, ms: number): Promise<boolean> {
    return await this.#ask(`acquire ${path} ${ms}`) === "acquired";
  }

  /** Releases it. */
  async release(path: string): Promise<void> {
    await this.#ask(`release ${path}`);
  }

  /** Without warning. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin!.end();
    setTimeout(() => this.kill(), 3_000).unref();
    await exited;
  }

  #ask(line: string): Promise<string | undefined> {
    this.#child.stdin!.write(`${line}\n`);
    return this.#answer();
  }

  async #answer(): Promise<string | undefined> {
    return (await this.#answers.next()).value;
  }
}
