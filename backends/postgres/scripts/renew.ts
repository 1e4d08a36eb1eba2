/** How claims stay. */
import { CLOCK } from "../client/literal.ts";
import { CALLED } from "./queue.ts";

/**
 * Restarts the timers of claims, given as lists of equal length; a key and a token name a claim, its id proves it.
 * Replies the time, and for each claim in turn: `g` it holds; `w` and microseconds: it waits, and one ahead may expire
 * then, which an attempt sees to; `m` it is missing; `s` it was stolen. Changes no queue, and waits for none. Rows are
 * locked in the order of the lists: each is looked up by its own key.
 */
export function renewFunction(schema: string): string {
  return `
CREATE OR REPLACE FUNCTION ${schema}.renew(lasts bigint, keys text[], tokens bigint[], ids text[])
RETURNS text LANGUAGE plpgsql ${CALLED} SET enable_hashjoin = off SET enable_mergejoin = off AS $holdfast$
DECLARE
  now bigint := ${CLOCK};
  said text[] := array_fill('m'::text, ARRAY[cardinality(ids)]);
  first bigint;
  one record;
BEGIN
  FOR one IN
    UPDATE ${schema}.claims c SET expires = ${CLOCK} + lasts -- by now, others may have restarted it
      FROM (
        SELECT * FROM unnest(keys, tokens, ids) WITH ORDINALITY AS asked (key, token, id, n),
          LATERAL (VALUES (0), (token)) AS may_be (at)
        OFFSET 0 -- so that a row is looked up by its place: by IN, a plan for few rows would go through the queue
      ) asked
      WHERE c.key = asked.key AND c.place = asked.at AND c.id = asked.id AND c.token = asked.token
        AND c.expires > now
      RETURNING n, c.place, c.key
  LOOP
    first := NULL;
    IF one.place > 0 THEN -- at place 0 is one who holds
      SELECT edge INTO first FROM ${schema}.claims WHERE key = one.key AND place = 0;
    END IF;
    said[one.n] := CASE WHEN first IS NULL OR one.place < first THEN 'g'
      ELSE 'w' || ${schema}.recheck(one.key, first, one.place, now) END;
  END LOOP;
  FOR one IN SELECT m FROM unnest(said) WITH ORDINALITY AS missing (what, m) WHERE what = 'm' LOOP
    PERFORM FROM ${schema}.gone WHERE id = ids[one.m] AND why = 'stolen';
    IF FOUND THEN said[one.m] := 's'; END IF;
  END LOOP;
  RETURN now || ' ' || array_to_string(said, ' ');
END $holdfast$;
`;
}
