/** How a claim takes its place in a queue; see `queue.ts` for what that looks like. */
import { CLOCK } from "../client/literal.ts";
import { BACK, CALLED, put, settled, told } from "./queue.ts";

/** What an attempt asks for, as bits. */
export const ASKS = {
  /** A place in the queue even if it does not hold at once. */
  wait: 1,
  /** The place of all others. */
  steal: 2,
  /** How the claim stands; it is in the queue, or has been. */
  entered: 4,
  /** It may be there already: an attempt before this one was not answered. */
  again: 8,
} as const;

/**
 * Replies `<state> <token> <recheck> <time>`, all in microseconds. States are granted, contended, and of a claim that
 * is not in the queue: missing, stolen, withdrawn; late: it would have entered after its time; fresh: as granted, in
 * a queue that had to be made.
 */
export function enterFunction(schema: string): string {
  return `
CREATE OR REPLACE FUNCTION ${schema}.enter(
  k text, full_name text, claim text, known bigint, most float8, lasts bigint, latest bigint, asks integer,
  manager text, channel text, said text
) RETURNS text LANGUAGE plpgsql ${CALLED} AS $holdfast$
DECLARE
  now bigint := ${CLOCK};
  waits boolean := asks & ${ASKS.wait} > 0;
  steals boolean := asks & ${ASKS.steal} > 0;
  isnew boolean := asks & ${ASKS.entered} = 0;
  q ${schema}.claims;
  changed boolean := false;
  holds boolean;
  mine bigint;
  one record;
BEGIN
  IF isnew AND now <= latest THEN
    -- Most queues are free.
    UPDATE ${schema}.claims SET
        last = greatest(last + 1, now), token = greatest(last + 1, now), id = claim, "limit" = most, ttl = lasts,
        expires = now + lasts, soonest = now + lasts, client = manager, ear = channel, metadata = said,
        edge = NULL, holding = 1, least = most
      WHERE key = k AND place = 0 AND id IS NULL AND NOT crowd AND NOT watched AND fenced < now
      RETURNING token INTO mine;
    IF FOUND THEN RETURN 'granted ' || mine || ' 0 ' || now; END IF;
    IF NOT waits AND NOT steals AND asks & ${ASKS.again} = 0 THEN
      -- To find that somebody else holds takes no lock, and no write.
      PERFORM FROM ${schema}.claims
        WHERE key = k AND place = 0 AND last <= now + ${BACK} AND (soonest > now OR NOT crowd AND expires > now)
          AND (edge IS NOT NULL OR holding >= least(least, most));
      IF FOUND THEN RETURN 'contended 0 0 ' || now; END IF;
    END IF;
    INSERT INTO ${schema}.claims (key, place, name, last, token, id, "limit", ttl, expires, soonest, client, ear,
        metadata, holding, least)
      VALUES (k, 0, full_name, now, now, claim, most, lasts, now + lasts, now + lasts, manager, channel,
        said, 1, most)
      ON CONFLICT DO NOTHING;
    IF FOUND THEN
      SELECT last + 1 INTO mine FROM ${schema}.floor WHERE sole;
      IF mine > now THEN -- the clock was set back
        UPDATE ${schema}.claims SET last = mine, token = mine WHERE key = k AND place = 0;
      END IF;
      RETURN 'fresh ' || greatest(mine, now) || ' 0 ' || now;
    END IF;
  END IF;
  SELECT * INTO q FROM ${schema}.claims WHERE key = k AND place = 0 FOR NO KEY UPDATE;
  now := ${CLOCK};
  IF NOT FOUND THEN -- swept away at this very moment, if it was there at all
    RETURN CASE WHEN NOT isnew THEN 'missing' WHEN now > latest THEN 'late' ELSE 'again' END || ' 0 0 ' || now;
  END IF;
  ${settled(schema)}
  IF q.id = claim THEN
    mine := q.token;
    q.expires := now + lasts;
    q.ear := coalesce(nullif(channel, ''), q.ear);
  ELSIF q.crowd AND asks & ${ASKS.entered + ASKS.again} > 0 THEN
    mine := nullif(known, 0);
    IF mine IS NULL THEN
      SELECT place INTO mine FROM ${schema}.claims WHERE key = k AND place > 0 AND id = claim;
    END IF;
    UPDATE ${schema}.claims SET expires = ${CLOCK} + lasts, ear = coalesce(nullif(channel, ''), ear)
      WHERE key = k AND place = mine AND id = claim;
    IF NOT FOUND THEN mine := NULL; END IF;
  END IF;
  IF mine IS NULL AND q.fenced >= now THEN
    SELECT why INTO one FROM ${schema}.gone WHERE id = claim;
    IF FOUND THEN
      ${put(schema)}
      RETURN one.why || ' 0 0 ' || now;
    END IF;
  END IF;
  IF mine IS NULL AND isnew AND now <= latest THEN
    IF steals THEN
      FOR one IN SELECT place, id, ear, expires FROM ${schema}.claims
        WHERE key = k AND id IS NOT NULL AND (place > 0 OR q.id IS NOT NULL) ORDER BY place FOR UPDATE
      LOOP
        PERFORM ${schema}.note(one.id, 'stolen', greatest(one.expires, now), now);
        q.fenced := greatest(q.fenced, one.expires);
        IF one.ear <> '' THEN PERFORM pg_notify(one.ear, 'stolen ' || one.id); END IF;
      END LOOP;
      DELETE FROM ${schema}.claims WHERE key = k AND place > 0;
      q.id := NULL;
      q.crowd := false;
      q.edge := NULL;
      q.holding := 0;
      q.least := 'Infinity';
    END IF;
    holds := q.edge IS NULL AND q.holding < least(q.least, most);
    IF holds OR waits THEN
      changed := true;
      mine := greatest(q.last + 1, now);
      q.last := mine;
      q.soonest := CASE WHEN q.id IS NULL AND NOT q.crowd THEN now + lasts ELSE least(q.soonest, now + lasts) END;
      IF holds THEN
        q.holding := q.holding + 1;
        q.least := least(q.least, most);
      ELSE
        q.edge := coalesce(q.edge, mine);
      END IF;
      IF q.id IS NULL AND NOT q.crowd THEN
        q.id := claim; q.token := mine; q."limit" := most; q.ttl := lasts; q.expires := now + lasts;
        q.client := manager; q.ear := channel; q.metadata := said;
      ELSE
        q.crowd := true;
        INSERT INTO ${schema}.claims (key, place, token, id, "limit", ttl, expires, client, ear, metadata)
          VALUES (k, mine, mine, claim, most, lasts, now + lasts, manager, channel, said);
      END IF;
    END IF;
  END IF;
  ${told(schema)}
  ${put(schema)}
  IF mine IS NOT NULL THEN RETURN ${schema}.standing(q, mine, now); END IF;
  RETURN CASE WHEN NOT isnew THEN 'missing' WHEN now > latest THEN 'late' ELSE 'contended' END || ' 0 0 ' || now;
END $holdfast$;
`;
}
