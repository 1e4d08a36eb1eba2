/**
 * How far two clocks may drift apart: the store's timer may run this much faster than ours. Crystals
 * stay within 0.01 %, a clock that is being slewed within 0.05 %; 1 % leaves room for a virtual machine's.
 */
const DRIFT = 0.01;

/** Most and least of what the deadline keeps in hand for rounding, timer latency and jumps too small to tell. */
const SLACK = { most: 250, least: 25 };

/**
 * For how long a lock is proven held after the send time of the call that restarted the store's
 * timer: `T(1-p) - m`. Milliseconds.
 */
export function provenFor(ttl: number): number {
  return ttl * (1 - DRIFT) - Math.min(SLACK.most, Math.max(ttl / 20, SLACK.least), ttl / 4);
}

/**
 * Milliseconds from one renewal to the next: a third of the ttl. Where renewals have to settle, a quarter,
 * because each counts one period late, or a third of what `settle` leaves of the ttl if that is less. A whole
 * number of periods is then a little longer than `settle`, so that no renewal just misses to count.
 */
export function heartbeat(ttl: number, settle: number): number {
  const part = Math.max(1, settle > 0 ? Math.min(ttl / 4, (ttl - settle) / 3) : ttl / 3);
  const periods = Math.max(1, Math.round(settle / part));
  return Math.max(part, 1.05 * settle / periods);
}
