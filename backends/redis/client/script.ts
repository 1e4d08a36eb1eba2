import { createHash } from "node:crypto";

/** A Lua script by its digest, so that only the digest travels. */
export interface Script {
  /** The Lua. */
  readonly source: string;
  /** SHA-1 in hex, as `EVALSHA` wants it. */
  readonly sha: string;
  /** The same for a Cluster with sharded channels, where that differs. */
  readonly sharded?: Script;
}

/** Makes one. */
export function script(source: string): Script {
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}
