/** The errors: their names, codes, and what is in them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BackendError,
  LockError,
  LockLostError,
  LockReleasedError,
  ManagerClosedError,
  QuorumError,
  type Vote,
} from "../mod.ts";

const cause = new Error("ECONNREFUSED");
const votes: Vote[] = [{ node: "127.0.0.1:6379", answer: "granted" }, {
  node: "127.0.0.1:6380",
  answer: "failed",
  error: cause,
}];

const ERRORS = [
  { error: new LockLostError("k", "expired"), name: "LockLostError", code: "lost" },
  { error: new LockReleasedError("k"), name: "LockReleasedError", code: "released" },
  { error: new ManagerClosedError('acquire lock "k"'), name: "ManagerClosedError", code: "closed" },
  { error: new BackendError("Cannot reach the store", { cause }), name: "BackendError", code: "backend" },
  {
    error: new QuorumError("Cannot reach a majority", votes, { cause }),
    name: "QuorumError",
    code: "quorum",
  },
] as const;

test("each has its own name and literal code, and is a LockError", () => {
  for (const { error, name, code } of ERRORS) {
    assert.ok(error instanceof Error && error instanceof LockError);
    assert.equal(error.name, name);
    assert.equal(error.code, code);
    assert.ok(error.stack?.includes(name), "the stack names it");
  }
});

test("only the quorum error is another one too", () => {
  const classes = [LockLostError, LockReleasedError, ManagerClosedError, BackendError, QuorumError];
  for (const [at, { error }] of ERRORS.entries()) {
    const kinds = classes.filter((kind) => error instanceof kind);
    assert.deepEqual(kinds, at === 4 ? [BackendError, QuorumError] : [classes[at]]);
  }
});

test("a loss says which lock, and why", () => {
  for (const why of ["expired", "revoked", "stolen"] as const) {
    const error = new LockLostError('a "quoted"\nkey', why);
    assert.equal(error.key, 'a "quoted"\nkey');
    assert.equal(error.why, why);
    assert.ok(error.message.includes(JSON.stringify(error.key)));
  }
  const messages = (["expired", "revoked", "stolen"] as const).map((why) =>
    new LockLostError("k", why).message
  );
  assert.equal(new Set(messages).size, 3);
  assert.equal(new LockReleasedError("k").key, "k");
});

test("a store's failure keeps the client's error, and says whether to try again", () => {
  assert.equal(new BackendError("Cannot x", { cause }).cause, cause);
  assert.equal(new BackendError("Cannot x").retryable, true);
  assert.equal(new BackendError("Cannot x", { retryable: false }).retryable, false);
  assert.equal(new QuorumError("Cannot x", votes).retryable, true);
  assert.deepEqual(new QuorumError("Cannot x", votes).votes, votes);
});

// Goes red if: JSON has what the client hung on its error, or throws at a BigInt.
test("each is whole in JSON: name, code, message, what it has of its own, and the cause", () => {
  const client = Object.assign(new Error("ECONNREFUSED", { cause: { password: "secret" } }), {
    errno: 1n,
    toJSON: () => "secret",
  });
  const error = new QuorumError("Cannot reach a majority", [{ node: "n", answer: "failed", error: client }], {
    cause: new BackendError("Cannot reach the store", { cause: client, retryable: false }),
  });
  const told = { name: "Error", message: "ECONNREFUSED" };
  assert.deepEqual(JSON.parse(JSON.stringify(error)), {
    name: "QuorumError",
    code: "quorum",
    message: "Cannot reach a majority",
    retryable: true,
    votes: [{ node: "n", answer: "failed", error: told }],
    cause: {
      name: "BackendError",
      code: "backend",
      message: "Cannot reach the store",
      retryable: false,
      cause: told,
    },
  });
  for (const { error, name, code } of ERRORS) {
    const said = JSON.parse(JSON.stringify({ error })).error;
    assert.deepEqual([said.name, said.code, said.message], [name, code, error.message]);
  }
  client.cause = client;
  assert.ok(JSON.stringify(new BackendError("Cannot x", { cause: client })).length < 1_000);
});

test("a closed manager says what it refused", () => {
  assert.match(new ManagerClosedError('acquire lock "k"').message, /^Cannot acquire lock "k": .*closed/);
});
