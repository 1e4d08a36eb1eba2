/** What a lock in this Postgres is worth. */
import { postgres } from "../postgres.ts";
import {
  type Checkup,
  clockFinding,
  duration,
  type Examination,
  type Finding,
  good,
  inTime,
  note,
  probe,
  refusedFor,
  ttlFinding,
  unsafe,
  unseen,
} from "../shared/doctor.ts";
import { type PostgresBackendOptions, route } from "./address.ts";
import { codeOf, postgresError } from "./client/errors.ts";
import { identifier, literal } from "./client/literal.ts";
import type { Link } from "./client/link.ts";
import { VERSION } from "./scripts/schema.ts";
import { POSTGRES_TRAITS } from "./traits.ts";

/** Since when the makers mend a series no longer: https://www.postgresql.org/support/versioning/. */
const ENDS: Readonly<Record<number, string>> = {
  14: "2026-11-12",
  15: "2027-11-11",
  16: "2028-11-09",
  17: "2029-11-08",
  18: "2030-11-14",
};

/** The SQLSTATE that a server which takes no writes is refused with. */
const STANDBY = "25006";

/** What is asked of every server, as JSON. */
const FACTS = `SELECT json_build_object(
  'version', current_setting('server_version'),
  'number', current_setting('server_version_num')::int,
  'fsync', current_setting('fsync'),
  'pages', current_setting('full_page_writes'),
  'commit', current_setting('synchronous_commit'),
  'named', current_setting('synchronous_standby_names'),
  'vacuum', current_setting('autovacuum'),
  'limit', (SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'),
  'user', current_user,
  'database', current_database(),
  'creates', has_database_privilege(current_database(), 'CREATE'),
  'standbys', (SELECT count(*) FROM pg_stat_replication),
  'clock', extract(epoch FROM clock_timestamp()) * 1000)::text AS facts`;

/** Their answer. */
interface Facts {
  readonly version: string;
  readonly number: number;
  readonly fsync: string;
  readonly pages: string;
  readonly commit: string;
  readonly named: string;
  readonly vacuum: string;
  /** Milliseconds; 0: none. */
  readonly limit: number;
  readonly user: string;
  readonly database: string;
  /** Whether the user may make a schema. */
  readonly creates: boolean;
  readonly standbys: number;
  /** Milliseconds since the epoch. */
  readonly clock: number;
}

/** Looks at the server that the calls go to. The schema is not made: without it, no lock is tried. */
export async function* examine(
  target: string,
  options: PostgresBackendOptions,
  checkup: Checkup,
): Examination {
  const to = route(target, options);
  const asking = `ask Postgres at ${to.place}`;
  let link: Link | undefined;
  let ready: boolean;
  try {
    const opening = to.open({
      abandoned: AbortSignal.any([checkup.signal, AbortSignal.timeout(checkup.timeout)]),
      down() {},
    });
    link = await inTime(`connect to Postgres at ${to.place}`, checkup, opening);
    const asked = Date.now();
    const [[told] = []] = await inTime(asking, checkup, link.query(FACTS));
    const facts: Facts = JSON.parse(told!);
    yield* judged(facts, checkup.ttl);
    yield clockFinding(facts.clock - (asked + Date.now()) / 2, "Locks expire by the server's.");
    const schema = await inTime(asking, checkup, schemaFinding(link, to.schema, facts));
    yield schema;
    ready = schema.verdict === "good";
  } catch (error) {
    if (codeOf(error) === STANDBY) {
      return yield unsafe("role", "This is a standby, which takes no locks: name the primary, or all hosts.");
    }
    return yield refusedFor("access", postgresError(asking, error));
  } finally {
    link?.close();
  }
  if (ready) return yield* probe(postgres(target, options), checkup);
  const wrong = ttlFinding(checkup.ttl, POSTGRES_TRAITS);
  if (wrong !== undefined) yield wrong;
}

function judged(facts: Facts, ttl: number): Finding[] {
  const { fsync, pages, vacuum, limit } = facts;
  const findings = [versionFinding(facts)];
  const crash = "a crash of the machine may damage the tables, or undo grants";
  if (fsync === "off") findings.push(unsafe("disk", `fsync is off: ${crash}.`));
  else if (pages === "off") findings.push(note("disk", `full_page_writes is off: ${crash}.`));
  else findings.push(good("disk", "A grant is on disk before it is told."));
  findings.push(failover(facts));
  if (vacuum === "off") {
    findings.push(
      note("autovacuum", "It is off: each cycle of a lock leaves an old row, and queues get slow."),
    );
  }
  if (limit > 0 && limit < ttl / 3) {
    const cut = "a call that waits for a row, or for the disk, is cut off before its time";
    findings.push(note("timeout", `statement_timeout is ${duration(limit)}: ${cut}.`));
  }
  return findings;
}

function versionFinding({ version, number }: Facts): Finding {
  const found = `This is Postgres ${version}`;
  const series = Math.floor(number / 10_000);
  if (series < 14) return unsafe("version", `${found}: 14 or later is needed.`);
  const ends = ENDS[series];
  if (ends === undefined || Date.now() < Date.parse(ends)) return good("version", `${found}.`);
  return note("version", `${found}: its makers have mended none since ${ends}.`);
}

/** Whether a standby that takes over knows every lock. */
function failover({ commit, named, standbys }: Facts): Finding {
  // Where it is off, what grants a lock puts it on for itself.
  if (named !== "" && commit !== "local") {
    return good("failover", "A standby has every grant before it is told: a failover to it keeps all locks.");
  }
  const may =
    "A failover may lose a lock that was granted just before, and grant it again before its holder knows";
  const set = "Set synchronous_standby_names, and synchronous_commit to on or remote_apply";
  if (standbys > 0) return note("failover", `Standbys that are not waited for: ${standbys}. ${may}. ${set}.`);
  return good("failover", "There is no standby: nobody gets a lock while the server is away.");
}

async function schemaFinding(
  link: Link,
  schema: string,
  { user, database, creates }: Facts,
): Promise<Finding> {
  const called = `The schema ${JSON.stringify(schema)}`;
  const print = "`deno run jsr:@holdfast/lock/postgres` prints";
  const [[there, usable] = []] = await link.query(
    `SELECT (n.oid IS NOT NULL)::text AS a, coalesce(has_schema_privilege(n.oid, 'USAGE'), false)::text AS b
      FROM (SELECT 1) AS one LEFT JOIN pg_namespace AS n ON nspname = ${literal(schema)}`,
  );
  if (there !== "true") {
    return creates
      ? note("schema", `${called} is not there yet: the first lock makes it. Until then, none is tried.`)
      : unsafe(
        "schema",
        `${called} is not there, and ${user} may not make it: an administrator of ${database} runs what ${print}.`,
      );
  }
  if (usable !== "true") {
    return unsafe(
      "schema",
      `${user} may not use it: GRANT USAGE ON SCHEMA ${identifier(schema)} TO ${identifier(user)}.`,
    );
  }
  try {
    const [[found] = []] = await link.query(`SELECT ${identifier(schema)}.version()::text AS v`);
    if (Number(found) === VERSION) return good("schema", `${called} is there, in version ${found}.`);
    const then = Number(found) > VERSION ? "update @holdfast/lock here" : `run the SQL that ${print}`;
    return unsafe("schema", `${called} has version ${found}, and ${VERSION} is needed: ${then}.`);
  } catch (error) {
    if (codeOf(error) === "42883") {
      return note(
        "schema",
        `${called} is there, without what a lock needs: the first one makes it, if it may.`,
      );
    }
    if (codeOf(error) === "42501") return unseen("schema", `${user} may not ask for its version`);
    throw error;
  }
}
