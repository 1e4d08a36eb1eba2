/** The ACL rules that the module doc of `backends/redis.ts` names, word for word. */
import { readFileSync } from "node:fs";

const doc = readFileSync(new URL("../../backends/redis.ts", import.meta.url), "utf8");
const found = [...doc.matchAll(/```acl\n([^`]*)```/g)].map(([, block]) =>
  block!.replaceAll(/^ \* ?/gm, "").trim().split(/\s+/)
);
if (found.length !== 5) throw new Error(`The module doc has ${found.length} ACL rules, not 5`);

/** What a user may who may do nothing else. */
const NOTHING = ["resetkeys", "resetchannels", "-@all"];
const [base, db, sentinel, watcher, cluster] = found as [string[], string[], string[], string[], string[]];

/** For any server; and what is to be added. */
export const RULES: Readonly<Record<"base" | "db" | "sentinel" | "watcher" | "cluster", readonly string[]>> =
  {
    base: [...NOTHING, ...base],
    db,
    sentinel,
    /** At the Sentinels themselves. */
    watcher: [...NOTHING, ...watcher],
    cluster,
  };
