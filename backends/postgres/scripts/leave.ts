/** How a claim leaves its queue, and the next one holds. */
import { CLOCK } from "../client/literal.ts";
import { admitted, CALLED, put, settled } from "./queue.ts";

/**
 * Takes out a claim, whatever place it has; with a time until which attempts of it may still arrive, none of them
 * enters. Replies `<state> <time>`: removed, missing, stolen, or guarded: a transaction works under it.
 */
export function leaveFunction(schema: string): string {
  return `
CREATE OR REPLACE FUNCTION ${schema}.leave(k text, claim text, mine bigint, until bigint)
RETURNS text LANGUAGE plpgsql ${CALLED} AS $holdfast$
DECLARE
  now bigint;
  q ${schema}.claims;
  at bigint;
  was float8;
  changed boolean := false;
  state text := 'missing';
BEGIN
  IF until > 0 THEN
    INSERT INTO ${schema}.claims (key, place) VALUES (k, 0) ON CONFLICT DO NOTHING;
  ELSE
    -- Most claims are alone in their queue.
    UPDATE ${schema}.claims SET id = NULL, holding = 0, least = 'Infinity' WHERE ctid = (
      SELECT ctid FROM ${schema}.claims
      WHERE key = k AND place = 0 AND id = claim AND NOT crowd AND NOT watched FOR UPDATE SKIP LOCKED);
    IF FOUND THEN RETURN 'removed ' || ${CLOCK}; END IF;
  END IF;
  SELECT * INTO q FROM ${schema}.claims WHERE key = k AND place = 0 FOR NO KEY UPDATE;
  now := ${CLOCK};
  IF NOT FOUND THEN RETURN state || ' ' || now; END IF;
  IF q.id = claim THEN
    at := 0;
    was := q."limit";
  ELSIF q.crowd AND mine > 0 THEN
    SELECT place, "limit" INTO at, was FROM ${schema}.claims WHERE key = k AND place = mine AND id = claim;
  ELSIF q.crowd THEN
    SELECT place, "limit" INTO at, was FROM ${schema}.claims WHERE key = k AND place > 0 AND id = claim;
  END IF;
  IF at IS NOT NULL THEN
    IF NOT ${schema}.take(k, at) THEN RETURN 'guarded ' || now; END IF;
    state := 'removed';
    changed := true;
    IF at = 0 THEN
      q.id := NULL;
    ELSE
      DELETE FROM ${schema}.claims WHERE key = k AND place = at;
    END IF;
    IF q.edge IS NULL OR at < q.edge THEN q := ${schema}.counted_out(q, was); END IF;
    IF q.crowd AND (q.edge IS NULL OR q.edge = at) THEN -- otherwise, at least the first who waits is there
      PERFORM FROM ${schema}.claims WHERE key = k AND place > 0 LIMIT 1;
      q.crowd := FOUND;
    END IF;
  ELSIF q.fenced >= now THEN
    PERFORM FROM ${schema}.gone WHERE id = claim AND why = 'stolen';
    IF FOUND THEN state := 'stolen'; END IF;
  END IF;
  IF until > 0 THEN
    PERFORM ${schema}.note(claim, 'withdrawn', until, now);
    q.fenced := greatest(q.fenced, until);
  ELSIF NOT changed THEN
    RETURN state || ' ' || now;
  END IF;
  ${settled(schema)}
  ${admitted(schema)}
  IF q.crowd OR until > 0 THEN PERFORM set_config('holdfast.matters', 'yes', true); END IF; -- see durable.ts
  ${put(schema)}
  RETURN state || ' ' || now;
END $holdfast$;
`;
}
