/** How others look at queues, and have themselves told of changes. */
import { CLOCK } from "../client/literal.ts";
import { CALLED } from "./queue.ts";

/** How many pages are swept at once: some milliseconds of the server's time. */
const PAGES = 32;

/** `list`: the claims of keys from one on and before another, by key and then in queue order. */
export function observeFunctions(schema: string): string {
  return `
CREATE OR REPLACE FUNCTION ${schema}.list(from_key text, to_key text)
RETURNS TABLE (key text, id text, token text, "limit" text, "left" text, client text, metadata text)
LANGUAGE plpgsql ${CALLED} AS $holdfast$
DECLARE
  now bigint := ${CLOCK};
BEGIN
  RETURN QUERY
    SELECT coalesce(q.name, c.key), c.id, c.token::text, c."limit"::text, (c.expires - now)::text, c.client, c.metadata
    FROM ${schema}.claims c LEFT JOIN ${schema}.claims q ON q.key = c.key AND q.place = 0 AND q.name IS NOT NULL
    WHERE c.key >= from_key AND c.key < to_key AND c.id IS NOT NULL AND c.expires > now
    ORDER BY c.key, c.place;
END $holdfast$;

-- The listener tells who watches that he is there by a lock on his channel's number, which ends with his connection.
CREATE OR REPLACE FUNCTION ${schema}.watch(k text, full_name text, channel text) RETURNS void
LANGUAGE plpgsql ${CALLED} AS $holdfast$
BEGIN
  INSERT INTO ${schema}.claims (key, place, name) VALUES (k, 0, full_name) ON CONFLICT DO NOTHING;
  UPDATE ${schema}.claims SET watched = true WHERE key = k AND place = 0;
  INSERT INTO ${schema}.watchers VALUES (k, channel) ON CONFLICT DO NOTHING;
END $holdfast$;

CREATE OR REPLACE FUNCTION ${schema}.unwatch(k text, channel text) RETURNS void LANGUAGE plpgsql ${CALLED} AS $holdfast$
BEGIN
  PERFORM FROM ${schema}.claims WHERE key = k AND place = 0 FOR NO KEY UPDATE;
  DELETE FROM ${schema}.watchers WHERE key = k AND ear = channel;
  PERFORM FROM ${schema}.watchers WHERE key = k;
  IF NOT FOUND THEN UPDATE ${schema}.claims SET watched = false WHERE key = k AND place = 0; END IF;
END $holdfast$;

-- Forgets queues that have been free for so many microseconds, on some pages of the table that chance picks, but not how far their
-- tokens went: those of a queue that is made anew are greater, whatever the clock says. An attempt that may not enter has to find
-- its queue even if it came in time and was held up.
CREATE OR REPLACE FUNCTION ${schema}.sweep(memory bigint) RETURNS void LANGUAGE plpgsql ${CALLED} AS $holdfast$
DECLARE
  now bigint := ${CLOCK};
  pages bigint := pg_relation_size('${
    schema.replaceAll("'", "''")
  }.claims') / current_setting('block_size')::bigint;
  page bigint := floor(random() * pages);
  swept bigint;
BEGIN
  WITH forgotten AS (
    DELETE FROM ${schema}.claims WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM ${schema}.claims
      WHERE ctid >= format('(%s,0)', page)::tid AND ctid < format('(%s,0)', page + ${PAGES})::tid
        AND place = 0 AND id IS NULL AND NOT crowd AND NOT watched AND greatest(last, fenced) < now - memory
      FOR UPDATE SKIP LOCKED)) RETURNING last
  ) SELECT max(last) INTO swept FROM forgotten;
  IF swept IS NULL THEN RETURN; END IF;
  UPDATE ${schema}.floor SET last = swept WHERE sole AND last < swept;
END $holdfast$;

-- A transaction that calls this holds the claim until its end, whether it expires meanwhile or not.
-- Returns held, or what became of it: stolen, missing.
CREATE OR REPLACE FUNCTION ${schema}.guard(k text, mine bigint, claim text) RETURNS text
LANGUAGE plpgsql ${CALLED} AS $holdfast$
BEGIN
  PERFORM FROM ${schema}.claims
    WHERE key = k AND place IN (0, mine) AND token = mine AND id = claim AND expires > ${CLOCK} FOR KEY SHARE;
  IF FOUND THEN
    PERFORM FROM ${schema}.claims WHERE key = k AND place = 0 AND (edge IS NULL OR mine < edge);
    IF FOUND THEN RETURN 'held'; END IF;
  END IF;
  PERFORM FROM ${schema}.gone WHERE id = claim AND why = 'stolen';
  RETURN CASE WHEN FOUND THEN 'stolen' ELSE 'missing' END;
END $holdfast$;
`;
}
