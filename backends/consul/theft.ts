import type { Claim } from "../../internal/backend.ts";
import type { ConsulApi } from "./client/api.ts";
import type { Bounds } from "./client/http.ts";
import { encodeValue, type Operation } from "./client/kv.ts";
import { metadataOf, type Names, sessionOf, treeOf } from "./names.ts";
import { queueOf } from "./entries.ts";

/** A transaction takes 64 operations; the rest of the theft's needs ten. */
const NOTICES = 50;

/**
 * What empties the queue in the step in which the thief enters it, and leaves a notice to each of
 * those it takes out, under their own session. Beyond the first fifty they find out by themselves.
 * Refused if the thief is in the queue already, and if a session has ended meanwhile.
 */
export async function theft(
  api: ConsulApi,
  root: string,
  { id, key }: Claim,
  { contender }: Names,
  bounds: Bounds,
): Promise<Operation[]> {
  const queue = treeOf(root, key);
  const pairs = await api.tree(queue, bounds);
  const victims = queueOf(root, pairs).slice(0, NOTICES);
  return [
    { Verb: "check-not-exists", Key: contender },
    ...victims.map((victim): Operation => ({
      Verb: "lock",
      Key: `${sessionOf(root, key, victim.session)}stolen/${victim.id}`,
      Session: victim.session,
      Value: encodeValue(id),
    })),
    { Verb: "delete-tree", Key: queue },
    { Verb: "delete-tree", Key: metadataOf(root, key) },
  ];
}
