/**
 * Everything that changes a queue happens in a function of the server: in one statement, by the server's clock, and
 * with the one rule of `internal/queue.ts` written in PL/pgSQL.
 *
 * A queue is the rows of `claims` with its key. The row of place 0 is the queue itself, and stays when it is free:
 * whoever changes a queue has locked that row first (`FOR NO KEY UPDATE`), so that a queue changes atomically, and
 * queues do not wait for each other. A claim that finds its queue empty is kept in that very row: to take a free
 * lock, and to give it back, is an update of one row, which touches no index and leaves nothing for a vacuum (a "HOT"
 * update). Those who come later have a row each, at the place of their token. So the rows, by place, are the
 * queue in order of arrival.
 *
 * Times and tokens are microseconds of the server's clock.
 *
 * Two locks of rows have a meaning of their own. `FOR KEY SHARE` on a claim's row: a transaction does its work under
 * that claim, which must stay; a renewal, an ordinary update, goes on beside it. `FOR UPDATE` therefore comes before
 * a claim is taken out, and with `SKIP LOCKED`: who expired in the middle of a transaction stays until its end.
 *
 * What is tidied up on the way is a queue's own business: first `settle` takes out who has expired and lets in whoever
 * may hold then, and only after that anything else is done.
 */

/** Columns of the queue itself, in the row of place 0. */
const QUEUE = ["last", "crowd", "edge", "holding", "least", "soonest", "fenced", "watched"];

/** Columns of a claim. */
const CLAIM = ["id", "token", `"limit"`, "ttl", "expires", "client", "ear", "metadata"];

/** Microseconds by which a token may be ahead of the clock: by more if that was set back. */
export const BACK = "1000000";

/**
 * What users call. With the rights of whoever made the schema, so that `USAGE` of it is all that anybody needs; hence
 * a search path that nobody can put functions of his own into. No plan scans a whole table: one that was made while
 * the table was small would be kept when it has grown. Nor by a bitmap: that would meet, at each call, every entry of
 * the index that has gone since the last vacuum, where a plain scan marks what it meets.
 */
export const CALLED = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp " +
  "SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan";

/** The tables. Their settings: room for updates in each page, and a vacuum that is not far behind. */
export function tables(schema: string): string {
  const kept = `autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 5000`;
  return `
CREATE TABLE IF NOT EXISTS ${schema}.claims (
  key text COLLATE "C" NOT NULL,
  place bigint NOT NULL,             -- 0, or the claim's token
  name text,                         -- of the key, where that is too long for an index
  -- Of the queue, at place 0.
  last bigint NOT NULL DEFAULT 0,    -- the greatest token so far
  crowd boolean NOT NULL DEFAULT false, -- whether there are other places
  edge bigint,                       -- the token of the first who waits: all before it hold
  holding integer NOT NULL DEFAULT 0, -- how many do
  least float8 NOT NULL DEFAULT 'Infinity', -- their smallest limit
  soonest bigint NOT NULL DEFAULT 0, -- nobody expires before
  fenced bigint NOT NULL DEFAULT 0,  -- until then some may not enter: see the table gone
  watched boolean NOT NULL DEFAULT false, -- whether somebody watches: see the table watchers
  -- Of a claim; at place 0 of the one that found the queue empty, while it lasts.
  id text,
  token bigint,
  "limit" float8,
  ttl bigint,
  expires bigint,
  client text,
  ear text,                          -- the channel on which its process listens
  metadata text,
  PRIMARY KEY (key, place)
) WITH (fillfactor = 40, ${kept});
CREATE TABLE IF NOT EXISTS ${schema}.gone (
  id text PRIMARY KEY,
  why text NOT NULL,                 -- stolen, withdrawn
  until bigint NOT NULL
) WITH (${kept});
CREATE INDEX IF NOT EXISTS gone_until ON ${schema}.gone (until);
CREATE TABLE IF NOT EXISTS ${schema}.floor (
  sole boolean PRIMARY KEY CHECK (sole),
  last bigint NOT NULL               -- the greatest token of all queues that are forgotten
);
CREATE TABLE IF NOT EXISTS ${schema}.watchers (
  key text COLLATE "C" NOT NULL,
  ear text NOT NULL,
  PRIMARY KEY (key, ear)
) WITH (${kept});
`;
}

/** Writes the row of the queue `q`, with the claim that it keeps. */
export function put(schema: string): string {
  const columns = [...QUEUE, ...CLAIM].map((column) => `${column} = q.${column}`).join(", ");
  return `UPDATE ${schema}.claims SET ${columns} WHERE key = q.key AND place = 0;`;
}

/** Settles `q` where that has something to do: to call a function of a whole row takes a tenth of a hand-over. */
export function settled(schema: string): string {
  return `IF now >= q.soonest OR q.last > now + ${BACK} THEN q := ${schema}.settle(q, now); END IF;`;
}

/** Lets in whoever may hold now, if `changed`, and tells who watches. */
export function admitted(schema: string): string {
  return `IF changed AND q.edge IS NOT NULL THEN q := ${schema}.admit(q); END IF;
  ${told(schema)}`;
}

/** Tells who watches, if `changed`. */
export function told(schema: string): string {
  return `IF changed AND q.watched THEN q := ${schema}.tell(q); END IF;`;
}

/** What the functions of the other files have in common. */
export function queueFunctions(schema: string): string {
  return `
-- Remembers what became of a claim, and forgets what is over.
CREATE OR REPLACE FUNCTION ${schema}.note(claim text, what text, end_of_it bigint, now bigint) RETURNS void
LANGUAGE plpgsql AS $holdfast$
BEGIN
  DELETE FROM ${schema}.gone
    WHERE id IN (SELECT id FROM ${schema}.gone WHERE until < now FOR UPDATE SKIP LOCKED);
  INSERT INTO ${schema}.gone VALUES (claim, what, end_of_it) ON CONFLICT (id) DO NOTHING;
END $holdfast$;

-- Locks a claim of a queue that is locked, so that it can be taken out. Whether no transaction works under it.
CREATE OR REPLACE FUNCTION ${schema}.take(k text, at bigint) RETURNS boolean LANGUAGE plpgsql AS $holdfast$
BEGIN
  PERFORM FROM ${schema}.claims WHERE key = k AND place = at FOR UPDATE SKIP LOCKED;
  IF FOUND THEN RETURN true; END IF;
  PERFORM FROM ${schema}.claims WHERE key = k AND place = at FOR NO KEY UPDATE; -- waits for a renewal only
  PERFORM FROM ${schema}.claims WHERE key = k AND place = at FOR UPDATE SKIP LOCKED;
  RETURN FOUND;
END $holdfast$;

-- Counts out a holder.
CREATE OR REPLACE FUNCTION ${schema}.counted_out(INOUT q ${schema}.claims, was float8) LANGUAGE plpgsql AS $holdfast$
BEGIN
  q.holding := q.holding - 1;
  IF q.holding = 0 THEN q.least := 'Infinity';
  ELSIF was = q.least AND was < 'Infinity' THEN -- so at most as many hold
    SELECT coalesce(min("limit"), 'Infinity') INTO q.least FROM ${schema}.claims
      WHERE key = q.key AND place > 0 AND place < coalesce(q.edge, ${NEVER});
    IF q.id IS NOT NULL THEN q.least := least(q.least, q."limit"); END IF;
  END IF;
END $holdfast$;

-- Lets in whoever may hold now, and tells them.
CREATE OR REPLACE FUNCTION ${schema}.admit(INOUT q ${schema}.claims) LANGUAGE plpgsql AS $holdfast$
DECLARE
  next record;
  first bigint := q.edge;
BEGIN
  q.edge := NULL;
  FOR next IN SELECT place, id, "limit", ear FROM ${schema}.claims
    WHERE key = q.key AND place >= first ORDER BY place
  LOOP
    IF q.holding >= least(q.least, next."limit") THEN
      q.edge := next.place;
      EXIT;
    END IF;
    q.holding := q.holding + 1;
    q.least := least(q.least, next."limit");
    IF next.ear <> '' THEN PERFORM pg_notify(next.ear, 'granted ' || next.id || ' ' || next.place); END IF;
  END LOOP;
END $holdfast$;

-- Tells who watches, and forgets those whose connection is gone: each has locked the number of its channel.
CREATE OR REPLACE FUNCTION ${schema}.tell(INOUT q ${schema}.claims) LANGUAGE plpgsql AS $holdfast$
DECLARE
  heard boolean := false;
  one text;
BEGIN
  FOR one IN SELECT ear FROM ${schema}.watchers WHERE key = q.key LOOP
    IF pg_try_advisory_xact_lock(hashtextextended(one, 0)) THEN
      DELETE FROM ${schema}.watchers WHERE key = q.key AND ear = one;
    ELSE
      heard := true;
      PERFORM pg_notify(one, 'changed ' || md5(q.key));
    END IF;
  END LOOP;
  q.watched := heard;
END $holdfast$;

-- Takes out who has expired, unless a transaction works under the claim, and lets in who may hold then.
CREATE OR REPLACE FUNCTION ${schema}.settle(INOUT q ${schema}.claims, now bigint) LANGUAGE plpgsql AS $holdfast$
DECLARE
  changed boolean := false;
  back boolean := q.last > now + ${BACK}; -- nobody has more than his ttl before him
  one record;
BEGIN
  q.soonest := ${NEVER};
  IF q.crowd THEN
    IF back THEN
      UPDATE ${schema}.claims SET expires = now + ttl WHERE key = q.key AND place > 0 AND expires > now + ttl;
    END IF;
    FOR one IN SELECT place, "limit" FROM ${schema}.claims
      WHERE key = q.key AND place > 0 AND expires <= now ORDER BY place FOR UPDATE SKIP LOCKED
    LOOP
      DELETE FROM ${schema}.claims WHERE key = q.key AND place = one.place;
      changed := true;
      IF q.edge IS NULL OR one.place < q.edge THEN q := ${schema}.counted_out(q, one."limit"); END IF;
    END LOOP;
    SELECT coalesce(min(expires), ${NEVER}), count(*) > 0 INTO q.soonest, q.crowd FROM ${schema}.claims
      WHERE key = q.key AND place > 0;
  END IF;
  IF q.id IS NOT NULL THEN
    IF back AND q.expires > now + q.ttl THEN q.expires := now + q.ttl; END IF;
    IF q.expires <= now AND ${schema}.take(q.key, 0) THEN
      q.id := NULL;
      changed := true;
      q := ${schema}.counted_out(q, q."limit");
    ELSE
      q.soonest := least(q.soonest, q.expires);
    END IF;
  END IF;
  ${admitted(schema)}
END $holdfast$;

-- Microseconds until one of those may expire whom a waiting claim waits for: the first in line waits for all who hold,
-- and each of the others for the one ahead, who does the same.
CREATE OR REPLACE FUNCTION ${schema}.recheck(k text, edge bigint, mine bigint, now bigint) RETURNS bigint
LANGUAGE plpgsql AS $holdfast$
DECLARE
  next bigint;
BEGIN
  IF mine = edge THEN
    SELECT min(least(expires, now + ttl)) INTO next FROM ${schema}.claims WHERE key = k AND place < mine AND id IS NOT NULL;
  ELSE
    SELECT least(expires, now + ttl) INTO next FROM ${schema}.claims
      WHERE key = k AND place < mine AND id IS NOT NULL ORDER BY place DESC LIMIT 1;
  END IF;
  RETURN greatest(coalesce(next, now) - now, 0);
END $holdfast$;

-- What is replied of a claim in its queue: state, token, recheck, and the time.
CREATE OR REPLACE FUNCTION ${schema}.standing(q ${schema}.claims, mine bigint, now bigint) RETURNS text
LANGUAGE plpgsql AS $holdfast$
BEGIN
  IF q.edge IS NULL OR mine < q.edge THEN RETURN 'granted ' || mine || ' 0 ' || now; END IF;
  RETURN 'contended ' || mine || ' ' || ${schema}.recheck(q.key, q.edge, mine, now) || ' ' || now;
END $holdfast$;
`;
}

/** A time that does not come. */
const NEVER = "9000000000000000000";
