/** The protocol by itself, on a real server, call by call. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { EtcdClient } from "../../backends/etcd/client/client.ts";
import type { EtcdQueued } from "../../backends/etcd/entries.ts";
import { EtcdQueues } from "../../backends/etcd/queues.ts";
import { QueueLease } from "../../backends/shared/queue_lease.ts";
import { list } from "../../backends/etcd/observer.ts";
import type { Header, TxnRequest } from "../../backends/etcd/client/messages.ts";
import type { Port } from "../../backends/etcd/client/port.ts";
import { EtcdError } from "../../backends/etcd/client/errors.ts";
import { readTarget } from "../../backends/etcd/address.ts";
import type { Claim, Gone, Lease } from "../../internal/backend.ts";
import { EtcdServer } from "../servers/etcd.ts";
import { until } from "../servers/process.ts";
import { call, claim as claimed, enter, entered, request } from "../support.ts";

const claim = (key: string, options?: Partial<Claim>) => claimed({ key: `holdfast/${key}`, ...options });

const shared = { limit: Infinity };

/** Seconds, longer than a test takes: nothing renews these leases. */
const TTL = 120;

describe("an etcd lease", () => {
  let server: EtcdServer;
  let port: Port;
  before(async () => {
    server = await EtcdServer.start();
    port = new EtcdClient(readTarget(server.url));
  });
  after(async () => {
    port.close();
    await server[Symbol.asyncDispose]();
  });

  async function open(over: Port = port): Promise<{ lease: Lease; lost: string[]; id: string }> {
    const lost: string[] = [];
    const granted = await port.call("leaseGrant", { TTL }, call());
    const told = ({ why }: Gone, id?: string) => void lost.push(id === undefined ? why : `${why} ${id}`);
    return {
      lease: new QueueLease<EtcdQueued>(
        { ...request(TTL * 1_000), told },
        (ears) => new EtcdQueues(over, request(TTL * 1_000), granted, ears),
      ),
      lost,
      id: granted.ID,
    };
  }
  const names = async (key: string) => (await list(port, `holdfast/${key}`, call())).map(({ id }) => id);

  test("grants in order of arrival, with rising tokens, and wakes the next", async () => {
    const { lease } = await open();
    const [first, second, third] = [claim("order"), claim("order"), claim("order")];
    const one = await enter(lease, first);
    assert.equal(one.state, "granted");
    for (const each of [second, third]) assert.equal((await enter(lease, each)).state, "contended");
    const woken = lease.changed(second, call());
    assert.equal(await lease.release(first, call()), true);
    assert.equal(await lease.release(first, call()), false);
    await woken;
    const two = await enter(lease, second);
    assert.ok(one.state === "granted" && two.state === "granted" && two.token > one.token);
    assert.equal((await enter(lease, third)).state, "contended");
    await lease.release(second, call());
    await lease.changed(third, call());
    assert.equal((await lease.renew([third], call())).get(third.id)?.state, "granted");
    await lease.close(call());
  });

  test("a claim that does not wait leaves no place", async () => {
    const { lease } = await open();
    const first = claim("try");
    const tries = [{ ...shared }, { ...shared }, {}].map((options) =>
      claim("try", { ...options, wait: false })
    );
    const states = [];
    for (const each of tries) states.push((await enter(lease, each)).state);
    assert.deepEqual(states, ["granted", "granted", "contended"]);
    assert.equal((await enter(lease, first)).state, "contended");
    const reader = claim("try", { ...shared, wait: false });
    assert.equal((await enter(lease, reader)).state, "contended", "it would pass a writer");
    assert.deepEqual(await names("try"), [tries[0]!.id, tries[1]!.id, first.id]);
    await lease.close(call());
    assert.deepEqual(await list(port, "holdfast/", call()), []);
  });

  test("a thief removes everyone; holders are told, waiters find out", async () => {
    const [{ lease, lost }, { lease: other }] = [await open(), await open()];
    const [holder, waiter, thief] = [claim("theft"), claim("theft"), claim("theft", { steal: true })];
    await enter(lease, holder);
    await enter(lease, waiter);
    const woken = lease.changed(waiter, call());
    assert.equal((await enter(other, thief)).state, "granted");
    await woken;
    assert.deepEqual(await lease.attempt(waiter, call()), { state: "gone", why: "revoked" });
    await until(async () => lost.length > 0, () => "no notice");
    assert.deepEqual(lost, [`stolen ${holder.id}`]);
    assert.deepEqual(await names("theft"), [thief.id]);
    await lease.close(call());
    await other.close(call());
  });

  test("a notice that the watch did not bring is read by the next renewal", async () => {
    const deaf: Port = {
      call: (method, request, bounds) => port.call(method, request, bounds),
      watch: () => ({ ready: Promise.resolve(), cancel() {} }),
      close() {},
    };
    const [{ lease, lost }, { lease: other }] = [await open(deaf), await open()];
    const [holder, bystander] = [claim("deaf"), claim("deaf too")];
    await enter(lease, holder);
    await enter(lease, bystander);
    await enter(other, claim("deaf", { steal: true }));
    const outcomes = await lease.renew([holder, bystander], call());
    assert.deepEqual([...outcomes.keys()], [bystander.id]);
    assert.deepEqual(lost, [`stolen ${holder.id}`]);
    assert.equal((await lease.attempt(holder, entered(call()))).state, "gone");
    await lease.close(call());
    await other.close(call());
  });

  /** A port that keeps the transactions whose fate is not to be answered. */
  function losing(fate: (txn: TxnRequest) => "pass" | "hold" | "lose"): { port: Port; held: TxnRequest[] } {
    const held: TxnRequest[] = [];
    const lossy: Port = {
      async call(method, request, bounds) {
        const what = method === "txn" ? fate(request as TxnRequest) : "pass";
        if (what === "hold") held.push(request as TxnRequest);
        if (what === "hold") throw new Error("held up");
        const reply = await port.call(method, request, bounds);
        if (what === "lose") throw new Error("the reply was lost");
        return reply;
      },
      watch: (request, listener) => port.watch(request, listener),
      close() {},
    };
    return { port: lossy, held };
  }
  const puts = (txn: TxnRequest, key: string) =>
    txn.success!.some(({ request_put }) => request_put?.key.toString().startsWith(`holdfast/${key}/`));

  test("a copy of an attempt that arrives after the withdrawal is refused", async () => {
    let fate: "pass" | "hold" = "hold";
    const { port: slow, held } = losing((txn) => puts(txn, "late") ? fate : "pass");
    const { lease } = await open(slow);
    const late = claim("late");
    await assert.rejects(lease.attempt(late, call()));
    assert.equal(await lease.release(late, call()), false);
    assert.equal((await port.call("txn", held[0]!, call())).succeeded, false);
    assert.deepEqual(await names("late"), []);

    fate = "pass";
    assert.equal((await enter(lease, claim("late"))).state, "granted", "the lease goes on");
    await lease.close(call());
  });

  test("an epoch that somebody deletes is written again: claims enter, late copies do not", async () => {
    for (const end of [{}, { wait: false }, { steal: true }]) {
      let fate: "pass" | "hold" = "hold";
      const { port: slow, held } = losing((txn) => puts(txn, "epoch") ? fate : "pass");
      const { lease } = await open(slow);
      const late = claim("epoch");
      await assert.rejects(lease.attempt(late, call()));
      await lease.release(late, call());
      await server.rpc("kv/deleterange", { key: btoa("holdfast/"), range_end: btoa("holdfast0") });
      fate = "pass";
      const next = claim("epoch", end);
      assert.equal((await enter(lease, next)).state, "granted", JSON.stringify(end));
      await lease.release(next, call());
      assert.equal((await port.call("txn", held[0]!, call())).succeeded, false);
      await lease.close(call());
    }
  });

  test("what is no notice says nothing", async () => {
    const { lease, lost, id } = await open();
    const [held, bystander] = [claim("notice"), claim("notice")];
    await enter(lease, held);
    const key = btoa(`holdfast/~${BigInt(id).toString(16)}/notice`);
    const other = (await names("notice"))[0];
    for (const text of ["garbage", " ", "a b c\n\nd 12x", `${other} -1`]) {
      await server.rpc("kv/put", { key, value: btoa(text) });
    }
    assert.equal((await enter(lease, bystander)).state, "contended");
    assert.equal((await lease.renew([held, bystander], call())).get(held.id)?.state, "granted");
    assert.deepEqual(lost, []);
    await lease.close(call());
  });

  test("what others keep under the prefix is no lock, unless it stands in the queue of a key", async () => {
    const keys = ["holdfast/plain", "holdfast//x", "holdfast/%zz/x", "holdfast/%FF%FF%FF%FF/x"];
    for (const key of [...keys, "holdfast/theirs/abc-0"]) {
      await server.rpc("kv/put", { key: btoa(key), value: btoa('{"id":5}') });
    }
    const entries = await list(port, "holdfast/", call());
    assert.deepEqual(entries.map(({ key, id, held }) => [key, id, held]), [
      ["holdfast/theirs", "abc-0", true],
    ]);
    await server.rpc("kv/deleterange", { key: btoa("holdfast/"), range_end: btoa("holdfast0") });
  });

  test("a withdrawal that overtakes another claim's attempt does not keep that out", async () => {
    for (const wait of [true, false]) {
      const overtaken = Promise.withResolvers<void>();
      const { port: slow } = losing((txn) => puts(txn, "withdrawn") ? "hold" : "pass");
      const { lease } = await open({
        ...slow,
        call: async (method, request, bounds) => {
          const enters = method === "txn" && puts(request as TxnRequest, "overtaken");
          if (enters) await overtaken.promise;
          return await slow.call(method, request, bounds);
        },
        watch: slow.watch,
        close() {},
      });
      const withdrawn = claim("withdrawn");
      await assert.rejects(lease.attempt(withdrawn, call()));
      const entering = enter(lease, claim("overtaken", { wait })); // under the old epoch
      await lease.release(withdrawn, call());
      overtaken.resolve();
      assert.equal((await entering).state, "granted");
      await lease.close(call());
    }
  });

  test("nor does a copy enter again what was granted and released, or stolen", async () => {
    let copies = 0;
    const { port: slow, held } = losing((txn) => puts(txn, "copy") && ++copies === 1 ? "hold" : "pass");
    for (const end of ["release", "steal"]) {
      copies = held.length = 0;
      const [{ lease }, { lease: other }] = [await open(slow), await open()];
      const twice = claim("copy");
      await assert.rejects(lease.attempt(twice, call()));
      assert.equal((await enter(lease, twice)).state, "granted");
      if (end === "release") assert.equal(await lease.release(twice, call()), true);
      else {
        const thief = claim("copy", { steal: true });
        await enter(other, thief);
        // By then the notice may have told: who has not been told of a place could enter anew.
        assert.equal((await lease.attempt(twice, entered(call()))).state, "gone");
        await other.release(thief, call());
      }
      assert.equal((await port.call("txn", held[0]!, call())).succeeded, false, end);
      assert.deepEqual(await names("copy"), []);
      await lease.close(call());
      await other.close(call());
    }
  });

  // Goes red if: what a notice, or a renewal, says is gone is dropped while a copy may be under way.
  test("nor does it when a notice or a renewal has told of the end; a fence that fails is repeated", async () => {
    for (const told of ["notice", "renewal"]) {
      let [copies, failing] = [0, 3];
      const isFence = ({ success, compare }: TxnRequest) =>
        success!.some(({ request_put }) => request_put?.key.toString().endsWith("/epoch")) &&
        compare?.length === 1;
      const { port: slow, held } = losing((txn) =>
        (puts(txn, "end") && ++copies === 1) || (isFence(txn) && --failing >= 0) ? "hold" : "pass"
      );
      const deaf: Port = told === "notice"
        ? slow
        : { ...slow, call: slow.call, watch: () => ({ ready: Promise.resolve(), cancel() {} }) };
      const [{ lease, lost }, { lease: other }] = [await open(deaf), await open()];
      const first = claim("end");
      if (told === "renewal") await enter(other, first);
      const twice = claim("end");
      await assert.rejects(lease.attempt(twice, call()));
      assert.equal((await enter(lease, twice)).state, told === "notice" ? "granted" : "contended");
      if (told === "notice") {
        await enter(other, claim("end", { steal: true }));
        await until(async () => lost.length > 0, () => "no notice");
      } else {
        await server.rpc("kv/deleterange", { key: btoa("holdfast/end/"), range_end: btoa("holdfast/end0") });
        assert.equal((await lease.renew([twice], call())).get(twice.id)?.state, "gone");
      }
      const fenced = async () => {
        await lease.renew([], call());
        return failing < 0;
      };
      await until(fenced, () => "the fence was not repeated");
      await other.close(call());
      assert.equal((await port.call("txn", held[0]!, call())).succeeded, false, told);
      assert.deepEqual(await names("end"), []);
      await lease.close(call());
    }
  });

  /** A port whose answers seem to be another's. */
  function posing(as: (header: Header) => Partial<Header>): Port {
    return {
      async call(method, request, bounds) {
        const reply = await port.call(method, request, bounds);
        const { header } = reply as { header: Header };
        return { ...reply as object, header: { ...header, ...as(header) } } as typeof reply;
      },
      watch: (request, listener) => port.watch(request, listener),
      close() {},
    };
  }

  // Goes red if: an answer is believed whatever cluster it is of, or though it is older than one before.
  test("what another cluster says, or one that was set back, is no news of a lock", async () => {
    for (const as of [() => ({ cluster_id: "5" }), () => ({ revision: "1" })]) {
      let posed = false;
      const { lease, lost } = await open(posing((header) => posed ? as() : header));
      const held = claim("posed");
      await enter(lease, held);
      posed = true;
      await server.rpc("kv/deleterange", {
        key: btoa("holdfast/posed/"),
        range_end: btoa("holdfast/posed0"),
      });
      for (const asked of [() => lease.attempt(held, call()), () => lease.release(held, call())]) {
        await assert.rejects(asked(), { name: "BackendError", retryable: true });
      }
      await assert.rejects(lease.renew([held], call()), { name: "BackendError", retryable: true });
      assert.deepEqual(lost, []);
      posed = false;
      assert.equal(await lease.release(held, call()), false);
      await lease.close(call());
    }
  });

  // Goes red if: an error, which has no header, or one member's word is enough for a loss.
  test("that the lease is gone is believed only if its keys are gone too", async () => {
    let lie: string | undefined;
    const lying: Port = {
      async call(method, request, bounds) {
        if (lie === "error" && method === "txn" && puts(request as TxnRequest, "lie")) {
          throw new EtcdError(5, "etcdserver: requested lease not found");
        }
        const reply = await port.call(method, request, bounds);
        const told = lie !== undefined && lie !== "error" && method === "leaseKeepAlive";
        return told ? { ...reply as object, TTL: lie } as typeof reply : reply;
      },
      watch: (request, listener) => port.watch(request, listener),
      close() {},
    };
    const { lease, lost } = await open(lying);
    const held = claim("lie");
    await enter(lease, held);
    for (lie of ["0", "-1", "-9223372036854775808"]) await assert.rejects(lease.renew([held], call()), lie);
    lie = "error";
    await assert.rejects(lease.attempt(claim("lie"), call()));
    assert.deepEqual(lost, []);
    lie = "9223372036854775807";
    assert.equal((await lease.renew([held], call())).get(held.id)?.state, "granted");
    assert.equal(lease.ttl, TTL * 1_000);
    await lease.close(call());
  });

  // Goes red if: a renewal fails with one of its parts.
  test("the parts of a renewal do not fail each other", async () => {
    const lists = (txn: TxnRequest) => txn.success!.length > 1 && txn.compare === undefined;
    let broken = "";
    const partly: Port = {
      async call(method, request, bounds) {
        const part = method === "txn" && lists(request as TxnRequest) ? "list" : method;
        if (part === broken) throw new EtcdError(8, "etcdserver: too many requests");
        return await port.call(method, request, bounds);
      },
      watch: (request, listener) => port.watch(request, listener),
      close() {},
    };
    const [{ lease }, { lease: other }] = [await open(partly), await open()];
    const crowd = Array.from({ length: 101 }, (_, n) => claim(`part ${n}`)); // more than one read has room for
    for (const { key } of crowd) await enter(other, claim(key.slice("holdfast/".length)));
    for (const each of crowd) await enter(lease, each);
    const held = claim("part");
    await enter(lease, held);
    broken = "leaseTimeToLive";
    assert.equal((await lease.renew([held, ...crowd], call())).size, 101);
    broken = "list";
    await assert.rejects(lease.renew([held, ...crowd], call()), "nothing was read");
    await lease.close(call());
    await other.close(call());
  });

  test("an attempt whose reply was lost is the same claim, with the same token", async () => {
    let lose = true;
    const { port: lossy } = losing((txn) => puts(txn, "lost") && lose ? "lose" : "pass");
    const { lease } = await open(lossy);
    const [first, second] = [claim("lost"), claim("lost")];
    for (const each of [first, second]) {
      lose = true;
      await assert.rejects(lease.attempt(each, call()));
      lose = false;
    }
    const [one, two] = [await enter(lease, first), await enter(lease, second)];
    const entries = await list(port, "holdfast/lost", call());
    assert.deepEqual(entries.map(({ id, held }) => [id, held]), [[first.id, true], [second.id, false]]);
    assert.deepEqual([one, two.state], [{ state: "granted", token: entries[0]!.token }, "contended"]);
    assert.equal(await lease.release(first, call()), true);
    await lease.changed(second, call());
    assert.equal((await enter(lease, second)).state, "granted");
    await lease.close(call());
  });

  test("a name is used again, but not while a copy may be under way; an old notice is nobody else's", async () => {
    const keys = async () => {
      const { kvs = [] } = await server.rpc("kv/range", {
        key: btoa("holdfast/names/"),
        range_end: btoa("holdfast/names0"),
      });
      return (kvs as { key: string }[]).map(({ key }) => atob(key).replace(/.*-/, ""));
    };
    let fate: "pass" | "hold" = "pass";
    const { port: slow } = losing((txn) => puts(txn, "names") ? fate : "pass");
    const [{ lease, lost }, { lease: other }] = [await open(slow), await open()];
    for (let cycle = 0; cycle < 3; cycle++) {
      const [one, two] = [claim("names"), claim("names")];
      for (const each of [one, two]) await enter(lease, each);
      assert.deepEqual(await keys(), ["0", "1"]);
      for (const each of [one, two]) await lease.release(each, call());
    }
    fate = "hold";
    const unsure = claim("names");
    await assert.rejects(lease.attempt(unsure, call()));
    await lease.release(unsure, call());
    fate = "pass";
    const victim = claim("names");
    await enter(lease, victim);
    assert.deepEqual(await keys(), ["1"]);
    const thief = claim("names", { steal: true });
    await enter(other, thief);
    await until(async () => lost.length === 1, () => "no notice");
    await lease.release(victim, call());
    await other.release(thief, call());
    const successor = claim("names");
    await enter(lease, successor);
    assert.deepEqual(await keys(), ["1"]);
    assert.equal((await lease.renew([successor], call())).get(successor.id)?.state, "granted");
    assert.equal(lost.length, 1);
    await lease.close(call());
    await other.close(call());
  });

  test("a release goes by the create revision, not by the name", async () => {
    const { lease, id } = await open();
    const mine = claim("name");
    await enter(lease, mine);
    const queue = await server.rpc("kv/range", {
      key: btoa("holdfast/name/"),
      range_end: btoa("holdfast/name0"),
    });
    const [{ key }] = queue["kvs"] as [{ key: string }];
    await server.rpc("kv/deleterange", { key });
    await server.rpc("kv/put", { key, value: btoa("another"), lease: id });
    assert.equal(await lease.release(mine, call()), false);
    assert.equal((await names("name")).length, 1);
    await lease.close(call());
  });

  test("a lease that an operator has revoked is lost as a whole, by renewal or by attempt", async () => {
    for (const way of ["renew", "attempt"]) {
      const { lease, lost, id } = await open();
      const held = claim(way);
      await enter(lease, held);
      await port.call("leaseRevoke", { ID: id }, call());
      if (way === "renew") {
        assert.deepEqual(
          await lease.renew([held], call()),
          new Map([[held.id, { state: "gone", why: "revoked" }]]),
        );
      } else assert.equal((await lease.attempt(claim(way), call())).state, "gone");
      assert.deepEqual(lost, ["revoked"]);
      assert.deepEqual(await names(way), []);
      await lease.close(call());
    }
  });

  // Goes red if: a release of a claim that was never answered leaves no word against later attempts.
  test("an attempt that is asked for after its release does not enter", async () => {
    const { lease } = await open();
    const late = claim("after");
    assert.equal(await lease.release(late, call()), false);
    assert.deepEqual(await lease.attempt(late, call()), { state: "gone", why: "revoked" });
    assert.deepEqual(await names("after"), []);
    await lease.close(call());
  });

  test("a change between the question and the listening is not missed, though history was compacted", async () => {
    const { lease } = await open();
    const [first, second] = [claim("gap"), claim("gap")];
    await enter(lease, first);
    await enter(lease, second);
    await lease.release(first, call());
    const { header } = await server.rpc("kv/put", { key: btoa("other"), value: "" }) as {
      header: { revision: string };
    };
    await server.rpc("kv/compaction", { revision: header.revision, physical: true });
    await lease.changed(second, call());
    assert.equal((await enter(lease, second)).state, "granted");
    await lease.close(call());
  });

  test("a semaphore's waiter is woken by any of those it waits for", async () => {
    const { lease } = await open();
    const permits = Array.from({ length: 5 }, () => claim("permits", { limit: 3 }));
    const states = [];
    for (const each of permits) states.push((await enter(lease, each)).state);
    assert.deepEqual(states, ["granted", "granted", "granted", "contended", "contended"]);
    for (const gone of [1, 0]) {
      const [next] = permits.filter(({ id }) => id === permits[4 - gone]!.id);
      const woken = lease.changed(next!, call());
      await lease.release(permits[gone]!, call());
      await woken;
      assert.equal((await enter(lease, next!)).state, "granted");
    }
    await lease.close(call());
  });
});
