import { type Script, script } from "./script.ts";

/** The message that a process sends to itself. */
export const ECHO = "echo";

/**
 * `KEYS`: any key that the process has to do with. `ARGV`: channel, message. The key says to a Cluster who is to
 * publish it: a node that has left it would still do so, and be the only one to hear.
 */
export const PUBLISH: Script = script("return redis.call('PUBLISH', ARGV[1], ARGV[2])");
