/** What a server was asked for, and how long it took: by its own log. */
import type { PostgresServer } from "../servers/postgres.ts";

/** A message with calls of our functions, answered with one. */
export interface Statement {
  /** Which functions, in order: "enter", "leave", "renew" ... */
  readonly calls: readonly string[];
  /** Milliseconds in the server, the wait for its disk included. */
  readonly ms: number;
}

/** An address that has the server log each statement before it answers. */
export function logged({ url }: PostgresServer): string {
  return `${url}?options=${encodeURIComponent("-c log_min_duration_statement=0")}`;
}

/** Those by addresses that are logged, during something. */
export async function statements(
  { process }: PostgresServer,
  during: () => Promise<unknown>,
): Promise<Statement[]> {
  const before = process.log(Infinity).length;
  await during();
  const line = /duration: ([\d.]+) ms +statement: (.*)/g;
  return [...process.log(Infinity).slice(before).matchAll(line)].flatMap(([, ms, text]) => {
    const calls = [...text!.matchAll(/"holdfast"\.(\w+)\(/g)].map(([, name]) => name!);
    return calls.length === 0 || calls[0] === "version" ? [] : [{ calls, ms: Number(ms) }];
  });
}

/** How many statements have called each function. */
export function counts(all: readonly Statement[]): Record<string, number> {
  return Object.fromEntries(
    Object.entries(Object.groupBy(all, ({ calls }) => calls[0]!)).map(([name, some]) => [name, some!.length]),
  );
}
