/** What keys are called in the tables. */
import { createHash } from "node:crypto";

/** How long the parts of a key may be there: together they have to fit into a third of an index page. */
const PREFIX = 500;
const NAME = 1_500;

/** A key, `prefix/name`, as the tables have it: one that is too long for an index ends in a digest. */
export function rowKey(key: string): string {
  const slash = key.indexOf("/");
  return `${short(key.slice(0, slash), PREFIX)}/${short(key.slice(slash + 1), NAME)}`;
}

/** From the first key of a scope, which is a key or a prefix with its trailing slash, to the first one after it. */
export function range(scope: string): readonly [from: string, to: string] {
  if (!scope.endsWith("/")) return [rowKey(scope), `${rowKey(scope)}!`]; // before every character of a key
  const prefix = short(scope.slice(0, -1), PREFIX);
  return [`${prefix}/`, `${prefix}0`]; // "0" comes after "/"
}

/** As the server calls a key in a notification. */
export function digest(key: string): string {
  return createHash("md5").update(rowKey(key)).digest("hex");
}

/** "~" is in no key. */
function short(part: string, most: number): string {
  if (part.length <= most) return part;
  return `${part.slice(0, most - 65)}~${createHash("sha256").update(part).digest("hex")}`;
}
