/** Last expressions of a statement: when the server's answer has to wait for its disk. */

/** What grants or renews must outlive a crash of the server, whatever the database is set to. */
export const DURABLE =
  "CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END";

/**
 * A release after which nobody waits need not be on disk when it is answered. If a crash forgets it, the lock is free
 * after its ttl; and who is given the lock meanwhile is on disk only together with it.
 */
export const RELAXED = "CASE WHEN current_setting('holdfast.matters', true) IS DISTINCT FROM 'yes' " +
  `THEN set_config('synchronous_commit', 'off', true) ELSE ${DURABLE} END`;
