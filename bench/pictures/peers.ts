import type { Report, Series } from "../harness/report.ts";
import { type Look, other, OURS } from "./frame.ts";

/** The peers that are in the pictures, one for each way to wait and for each language; all are in the tables. */
const PEERS = [
  "redlock",
  "redis-semaphore",
  "@verrou/core",
  "node-redisson",
  "simple-redis-mutex",
  "Redisson's RLock",
  "Redisson's fair lock",
  "redsync",
];

/** Those of them that the report knows, after ours: each has the same look in every picture. */
export function contestants({ series }: Report): { readonly subject: string; readonly look: Look }[] {
  const ours = series.find(({ kind }) => kind === "ours")!.subject;
  const known = (name: string) => series.some(({ subject, kind }) => kind === "peer" && subject === name);
  return [
    { subject: ours, look: OURS },
    ...PEERS.map((subject, at) => ({ subject, look: other(at) })).filter(({ subject }) => known(subject)),
  ];
}

/** Whether the series is of that runtime, or of a program that has no other. */
export function runsOn(runtime: string): (series: Series) => boolean {
  return ({ kind, runtime: its }) => kind === "peer" || its === runtime;
}
