import type { AwaitsDeparture } from "../shared/departure.ts";
import type { OwnClaim } from "../shared/own_claim.ts";

/** What a notification says: the claim holds, with this token; nothing: it is worth asking. */
export type News = bigint | undefined;

/** What this process knows of one of its claims, besides what its lease does. */
export interface Standing extends AwaitsDeparture<News> {
  readonly own: OwnClaim;
  /** The server time at which the last of its attempts is refused. */
  latest: number;
  /** The server time until which attempts may enter: a second place must not follow the first, lost or not. */
  until: number | undefined;
  /** The server time at which its entry expires, as far as known. */
  expires: number;
  /** Whether its entry says where to send notifications. */
  heard: boolean;
  /** What a notification has said. */
  told: News;
  /** Notifications may have been missed since it was last asked about. */
  missed: boolean;
  /** Takes what a notification says of a theft. */
  readonly stolen: () => void;
}
