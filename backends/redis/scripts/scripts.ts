import { type Script, script } from "../client/script.ts";
import { ATTEMPT } from "./attempt.ts";
import { LIST } from "./list.ts";
import { RELEASE } from "./release.ts";
import { RENEW } from "./renew.ts";

/** The scripts of one backend. */
export interface Scripts {
  readonly attempt: Script;
  readonly release: Script;
  readonly renew: Script;
  readonly list: Script;
}

/** `memory`: milliseconds for which a queue that is free remembers its last token. */
export function scripts(memory: number): Scripts {
  const one = (source: string, publish: string) =>
    script(`local memory, publish = ${memory * 1_000}, '${publish}'\n${source}`);
  const made = (source: string) => ({ ...one(source, "PUBLISH"), sharded: one(source, "SPUBLISH") });
  return { attempt: made(ATTEMPT), release: made(RELEASE), renew: made(RENEW), list: made(LIST) };
}
