/** What every launched server can be told to do. */

import { HOST, type ServerProcess } from "./process.ts";

/** A server on a port of 127.0.0.1; the stores add how it is started and asked. */
export class Server implements AsyncDisposable {
  readonly host: string = HOST;
  /** For clients. */
  readonly port: number;
  /** The process. */
  readonly process: ServerProcess;

  constructor(port: number, process: ServerProcess) {
    this.port = port;
    this.process = process;
  }

  /** See {@linkcode ServerProcess.kill}. */
  kill(signal?: NodeJS.Signals): Promise<void> {
    return this.process.kill(signal);
  }

  /** SIGSTOP. */
  pause(): void {
    this.process.pause();
  }

  /** SIGCONT. */
  resume(): void {
    this.process.resume();
  }

  /** See {@linkcode ServerProcess.restart}. */
  restart(signal?: NodeJS.Signals): Promise<void> {
    return this.process.restart(signal);
  }

  /** Kills it and removes its data. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]();
  }
}

/** Kills them all. */
export async function disposeAll(parts: Iterable<AsyncDisposable>): Promise<void> {
  await Promise.all(Array.from(parts, (part) => part[Symbol.asyncDispose]()));
}
