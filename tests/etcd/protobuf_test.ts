import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { Message } from "../../backends/etcd/client/protobuf.ts";

const Inner = new Message({ text: [1, "string"], numbers: [2, "int64", "repeated"] });
const Outer: Message = new Message({
  id: [1, "int64"],
  on: [2, "bool"],
  kind: [3, ["None", "Some"]],
  data: [4, "bytes"],
  inner: [5, () => Inner],
  all: [64, () => Outer, "repeated"],
});

const EMPTY = { id: "0", on: false, kind: "None", data: Buffer.alloc(0), all: [] };

test("the bytes are those of the specification's examples", () => {
  assert.equal(Outer.encode({ id: 150 }).toString("hex"), "089601");
  assert.equal(Outer.encode({ inner: { text: "testing" } }).toString("hex"), "2a090a0774657374696e67");
  assert.equal(Outer.encode({ id: "-1" }).toString("hex"), "08ffffffffffffffffff01");
  assert.equal(
    Outer.encode({ all: [{}] }).toString("hex"),
    "820400",
    "a field number above 15 takes two bytes",
  );
});

test("what is written is what is read, large or nested", () => {
  for (const id of ["1", "127", "128", "9007199254740991", "9007199254740993", "9223372036854775807", "-1"]) {
    assert.deepEqual(Outer.decode(Outer.encode({ id })), { ...EMPTY, id });
  }
  const large = {
    ...EMPTY,
    on: true,
    kind: "Some",
    data: Buffer.alloc(3_000, "x"),
    inner: { text: "é".repeat(300), numbers: ["3", "270"] },
    all: [{ ...EMPTY, id: "7" }, { ...EMPTY, all: [{ ...EMPTY, data: Buffer.alloc(5_000, "y") }] }],
  };
  assert.deepEqual(Outer.decode(Outer.encode(large)), large);
});

test("what is absent has its default, what is unknown is skipped", () => {
  assert.deepEqual(Outer.decode(Buffer.alloc(0)), EMPTY);
  const newer = new Message({
    id: [1, "int64"],
    more: [9, "string"],
    even: [10, () => Inner],
    count: [11, "int64"],
  });
  const bytes = newer.encode({ more: "?", id: "5", even: { text: "?" }, count: "12345678901234567890" });
  assert.deepEqual(Outer.decode(bytes), { ...EMPTY, id: "5" });
  const fixed = Buffer.concat([Buffer.from("6900112233445566776500112233", "hex"), bytes]); // fields 13 and 12
  assert.deepEqual(Outer.decode(fixed), { ...EMPTY, id: "5" });
});
