/** What a lock in memory is worth. */
import { type Examination, note } from "../shared/doctor.ts";

/** There is nothing to look at. */
export async function* examine(): Examination {
  yield note("scope", "These locks are seen by one process alone: they keep no other one out.");
}
