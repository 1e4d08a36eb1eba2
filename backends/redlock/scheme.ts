import { destination, place } from "../redis/client/destination.ts";
import { HINTS, SERVER_SETTINGS, serverAt, withPems } from "../redis/scheme.ts";
import type { Scheme } from "../shared/scheme.ts";
import { hostsOf, pick } from "../shared/url.ts";
import { checkApart } from "./address.ts";
import { redlockTraits } from "./traits.ts";

/** `redlock://user:password@host1:6379,host2:6379,host3:6379/0`: the same user and database on all nodes. */
export const redlockScheme: Scheme = {
  names: ["redlock", "redlocks"],
  title: "a majority of independent Redis servers",
  example: "redlock://user:password@host1:6379,host2:6379,host3:6379/0",
  settings: {
    ...SERVER_SETTINGS,
    maxTtl: {
      kind: "number",
      says: "milliseconds: the longest ttl, and how long a new node stays out",
      otherwise: "30000",
    },
  },
  hints: HINTS,
  read(url) {
    const nodes = hostsOf(url, 6379).map((host) => serverAt(url, host));
    checkApart(nodes.map((node) => place(destination(node))));
    const options: { maxTtl?: number } = pick(url.settings, ["maxTtl"]);
    const complete = () => Promise.all(nodes.map((node) => withPems(node, url.settings)));
    return {
      name: "redlock",
      traits: redlockTraits(options.maxTtl),
      given: [nodes, options],
      async load() {
        const [{ redlock }, all] = await Promise.all([import("../redlock.ts"), complete()]);
        return redlock(all, options);
      },
      async *examine(checkup) {
        const [{ examine }, all] = await Promise.all([import("./doctor.ts"), complete()]);
        yield* examine(all, options, checkup);
      },
    };
  },
};
