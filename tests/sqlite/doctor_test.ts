/** What `holdfast doctor` finds about a file. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileSystemFinding } from "../../backends/sqlite/doctor.ts";
import { defaultPath } from "../../backends/sqlite/address.ts";
import { sqlite } from "../../backends/sqlite.ts";
import { mountOf, mountsOfLinux, mountsOfMac } from "../../backends/sqlite/client/mounts.ts";
import { LockManager } from "../../mod.ts";
import { assertFound, examined, unsafeTopics } from "../doctor.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-doctor-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A file with a lock's tables. */
async function made(name: string): Promise<string> {
  const path = join(folder, name);
  await using locks = new LockManager(sqlite(path));
  await (await locks.acquire("k")).release();
  return path;
}

test("a file on a local disk is safe, and nothing stays of the lock that was tried", async () => {
  const path = await made("locks.db");
  const findings = await examined(`sqlite://${path}`);
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "file", "good", /named by the URL/);
  for (const topic of ["integrity", "round trip", "lock"]) assertFound(findings, topic, "good");
  await using locks = new LockManager(sqlite(path));
  assert.deepEqual(await locks.query(), { held: [], pending: [] });
});

test("a file that is not there is not made, nor is its folder", async () => {
  const path = join(folder, "a", "b.db");
  const findings = await examined(`sqlite://${path}`);
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "file", "note", /is not there yet/);
  assert.equal(existsSync(join(folder, "a")), false);
});

test("the default file, and who has named it", async () => {
  const before = process.env.HOLDFAST_DB;
  try {
    process.env.HOLDFAST_DB = join(folder, "named.db");
    assertFound(await examined("sqlite:"), "file", "note", /named\.db \(named by HOLDFAST_DB\)/);
    delete process.env.HOLDFAST_DB;
    assertFound(
      await examined("sqlite:"),
      "file",
      existsSync(defaultPath()) ? "good" : "note",
      /the default of this user/,
    );
  } finally {
    if (before === undefined) delete process.env.HOLDFAST_DB;
    else process.env.HOLDFAST_DB = before;
  }
});

test("a file that is damaged, or another program's", async () => {
  const path = await made("damaged.db");
  const bytes = readFileSync(path);
  bytes.fill(0xff, 4_096 + 8, 4_096 + 2_000); // a page after the first, which says what the file is
  writeFileSync(path, bytes);
  assertFound(await examined(`sqlite://${path}`), "file", "unsafe", /damaged/);
  const other = join(folder, "other.db");
  writeFileSync(other, "no database ".repeat(1_000));
  const findings = await examined(`sqlite://${other}`);
  assert.deepEqual(unsafeTopics(findings), ["file"]);
  assert.match(readFileSync(other, "utf8"), /^no database/);
});

test("a file that there cannot be", async () => {
  const findings = await examined(`sqlite://${join(folder, "x".repeat(300))}`);
  assert.deepEqual(unsafeTopics(findings), ["file"]);
  assertFound(findings, "file", "unsafe", /its path is too long/);
});

test("a folder in which everybody may remove the file", { skip: process.platform === "win32" }, async () => {
  const open = join(folder, "open");
  mkdirSync(open);
  chmodSync(open, 0o777);
  assertFound(await examined(`sqlite://${join(open, "l.db")}`), "rights", "note", /chmod o-w/);
  chmodSync(open, 0o1777); // as of /tmp: only its owner may remove a file
  assert.equal(
    (await examined(`sqlite://${join(open, "l.db")}`)).some(({ topic }) => topic === "rights"),
    false,
  );
});

/** As Linux has printed them; proc_pid_mountinfo(5). */
const MOUNTINFO = `\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 22 0:28 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw
60 22 0:50 / /mnt/data rw,relatime shared:30 - nfs4 server:/export rw,vers=4.2
61 60 8:17 / /mnt/data/local rw - xfs /dev/sdb1 rw
62 22 0:51 / /mnt/with\\040blank rw - fuse.sshfs me@host:/srv rw,user_id=0
63 22 0:52 / /mnt/share rw - cifs //host/share rw
64 22 0:53 / /mnt/wsl rw - 9p drvfs rw
65 22 0:54 / /mnt/ntfs rw - fuseblk /dev/sdc1 rw
66 22 0:55 / /run/layer rw - overlay overlay rw
67 22 8:18 / /mnt/twice rw - ext4 /dev/sdd1 rw
68 22 0:56 / /mnt/twice rw - nfs server:/other rw
69 22 0:57 / /mnt/host rw - virtiofs host rw
70 22 0:58 / /mnt/rclone rw - fuse.rclone remote: rw
`;

const FOUND: readonly (readonly [path: string, type: string, verdict: "good" | "note" | "unsafe"])[] = [
  ["/home/me/l.db", "ext4", "good"],
  ["/dev/shm/l.db", "tmpfs", "note"],
  ["/mnt/data/l.db", "nfs4", "unsafe"],
  ["/mnt/database/l.db", "ext4", "good"],
  ["/mnt/data/local/l.db", "xfs", "good"],
  ["/mnt/with blank/l.db", "fuse.sshfs", "unsafe"],
  ["/mnt/share/l.db", "cifs", "unsafe"],
  ["/mnt/wsl/l.db", "9p", "unsafe"],
  ["/mnt/ntfs/l.db", "fuseblk", "good"],
  ["/run/layer/l.db", "overlay", "note"],
  ["/mnt/twice/l.db", "nfs", "unsafe"],
  ["/mnt/host/l.db", "virtiofs", "unsafe"],
  ["/mnt/rclone/l.db", "fuse.rclone", "unsafe"],
];

test("file systems over which locks are not seen", () => {
  const mounts = mountsOfLinux(MOUNTINFO);
  for (const [path, type, verdict] of FOUND) {
    const found = mountOf(path, mounts)?.type;
    assert.deepEqual([path, found, fileSystemFinding(found).verdict], [path, type, verdict]);
  }
  const mac = mountsOfMac(
    "/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)\n" +
      "//me@host/share on /Volumes/My (old) share (smbfs, nodev, nosuid, mounted by me)\n",
  );
  assert.deepEqual(mountOf("/Users/me/l.db", mac)?.type, "apfs");
  assert.deepEqual(mountOf("/Volumes/My (old) share/l.db", mac)?.type, "smbfs");
  assertFound([fileSystemFinding(undefined)], "file system", "note", /^Cannot be seen/);
});

const shm = mountOf(
  "/dev/shm/x",
  existsSync("/proc/self/mountinfo") ? mountsOfLinux(readFileSync("/proc/self/mountinfo", "utf8")) : [],
);

test("a file in memory, really", { skip: shm?.type !== "tmpfs" }, async () => {
  assertFound(await examined("sqlite:///dev/shm/holdfast-doctor.db"), "file system", "note", /tmpfs/);
});
