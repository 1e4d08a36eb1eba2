/** The page under test: it tries everything in itself and in workers, and posts what has failed. */
import { acquire } from "@holdfast/lock";
import { failures, rejection, same } from "./cases.ts";
import type { Answer, Port, Request } from "./keeper.ts";

/** Talks to a keeper. */
class Client {
  readonly #port: Port;
  readonly #answers: Answer[] = [];
  readonly #looks: (() => void)[] = [];

  constructor(port: Port) {
    this.#port = port;
    port.onmessage = ({ data }) => {
      this.#answers.push(data);
      for (const look of this.#looks.splice(0)) look();
    };
  }

  ask(request: Request): void {
    this.#port.postMessage(request);
  }

  /** The next answer to the request with this id. */
  async answer(id: string): Promise<Record<string, unknown>> {
    for (;;) {
      const at = this.#answers.findIndex((answer) => answer.id === id);
      if (at >= 0) return this.#answers.splice(at, 1)[0]!;
      await new Promise<void>((resolve) => this.#looks.push(resolve));
    }
  }
}

/** One holds, the other waits; it is handed over, and stolen back. */
async function contend(one: Client, other: Client): Promise<void> {
  one.ask({ id: "first", take: "k" });
  const first = await one.answer("first");
  other.ask({ id: "next", take: "k" });
  one.ask({ id: "first", give: true });
  same((await one.answer("first")).given, true);
  const next = await other.answer("next");
  same((next.token as bigint) > (first.token as bigint), true);
  one.ask({ id: "thief", take: "k", steal: true });
  same((await other.answer("next")).lost, "stolen");
  same(typeof (await one.answer("thief")).token, "bigint");
}

/** What Deno's types lack. */
declare const SharedWorker: new (url: URL, options: WorkerOptions) => { readonly port: Port };

/** Bundlers find a worker by this very expression. */
const workers: Readonly<Record<string, () => Promise<unknown>>> = {
  "no default": async () => {
    const { name, message } = await rejection(acquire("k")) as Error;
    same(name, "BackendError");
    same(/^Cannot use SQLite: .* Use new LockManager\(\.\.\.\)/.test(message), true);
  },
  "two workers with locks of their own": async () => {
    const start = () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    same((await Promise.all([word(start()), word(start())])).flat().join("\n"), "");
  },
  "a manager in a worker": async () => {
    const worker = new Worker(new URL("./keeper.ts", import.meta.url), { type: "module" });
    const client = new Client(worker);
    await contend(client, client);
  },
  "a manager in a shared worker": async () => {
    const connect = () =>
      new Client(new SharedWorker(new URL("./keeper.ts", import.meta.url), { type: "module" }).port);
    await contend(connect(), connect());
  },
};

/** The first word of a worker; its error, if it has none. */
function word(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message, filename }) => reject(new Error(`${filename}: ${message}`));
  });
}

const failed = await failures();
for (const [name, run] of Object.entries(workers)) {
  await run().catch((error) => failed.push(`${name}: ${error.stack}`));
}
await fetch("/report", { method: "POST", body: JSON.stringify(failed) });
