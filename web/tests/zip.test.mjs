// Archives are read back by programs that others wrote: Info-ZIP and Python.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 as zlib_crc32 } from "node:zlib";
import { compiled } from "./compiled.mjs";

let zip, crc, folder;
before(async () => {
  zip = await compiled("src/link/save/zip.ts");
  crc = await compiled("src/link/save/crc32.ts");
  folder = await mkdtemp(join(tmpdir(), "hither-zip-"));
});
after(() => rm(folder, { recursive: true }));

const bytes_of = (length, seed = 1) => {
  const bytes = new Uint8Array(length);
  for (let at = 0, x = seed; at < length; at += 1) bytes[at] = x = (x * 1103515245 + 12345) & 0xff;
  return bytes;
};
const CONTENT = [undefined, bytes_of(0), bytes_of(1), bytes_of(70_001, 7), undefined, bytes_of(300_000, 9)];
const AT = Date.UTC(2024, 1, 29, 12, 34, 56);
const ENTRIES = ["Ordner ü/", "Ordner ü/leer", "Ordner ü/日本語.txt", "Ordner ü/b.bin", "Ordner ü/empty/", "run.sh"].map((name, at) => ({
  name,
  size: CONTENT[at]?.length ?? 0,
  modified_ms: AT + at * 1000,
  executable: name.endsWith(".sh"),
}));
async function* read(at, offset) {
  for (let from = offset; from < CONTENT[at].length; from += 10_000) yield CONTENT[at].slice(from, from + 10_000);
}
async function all(reading, most = Infinity) {
  const parts = [];
  for (let next = await reading.next(); next; next = await reading.next()) {
    parts.push(next);
    if (parts.length >= most) break;
  }
  return Buffer.concat(parts);
}

test("sums are those of zlib, in one go and in pieces", () => {
  const sum = zlib_crc32 ?? ((bytes) => Number(execFileSync("python3", ["-c", "import sys,zlib;print(zlib.crc32(sys.stdin.buffer.read()))"], { input: bytes })));
  for (const length of [0, 1, 7, 8, 9, 1000, 65_537]) {
    const bytes = bytes_of(length, length + 1);
    assert.equal(crc.crc32(0, bytes), sum(Buffer.from(bytes)), String(length));
    assert.equal(crc.crc32(crc.crc32(0, bytes.subarray(0, length >> 1)), bytes.subarray(length >> 1)), sum(Buffer.from(bytes)));
  }
});

test("unzip and Python read an archive, with its times and modes", async () => {
  const whole = await all(new zip.ZipReading(ENTRIES, read));
  assert.equal(whole.length, zip.zip_size(ENTRIES));
  const path = join(folder, "a.zip");
  await writeFile(path, whole);
  assert.match(execFileSync("unzip", ["-t", path], { encoding: "utf8" }), /No errors detected/);
  execFileSync("unzip", ["-q", path, "-d", join(folder, "out")], { env: { ...process.env, TZ: "UTC", LC_ALL: "C.UTF-8" } });
  for (const [at, entry] of ENTRIES.entries()) if (CONTENT[at]) assert.deepEqual(new Uint8Array(await readFile(join(folder, "out", entry.name))), CONTENT[at]);
  const made = await stat(join(folder, "out/run.sh"));
  assert.equal(made.mode & 0o777, 0o755);
  assert.equal(made.mtimeMs, AT + 5000);
  const listed = JSON.parse(execFileSync("python3", ["-c", "import zipfile,sys,json;z=zipfile.ZipFile(sys.argv[1]);assert z.testzip() is None;print(json.dumps([[i.filename,i.file_size,i.date_time[0],i.external_attr>>16] for i in z.infolist()]))", path], { encoding: "utf8" }));
  assert.deepEqual(listed.map(([name, size]) => [name, size]), ENTRIES.map(({ name, size }) => [name, size]));
  assert.deepEqual(await all(new zip.ZipReading(ENTRIES, read)), whole, "the same bytes twice");
});

test("an archive goes on after every piece", async () => {
  const whole = await all(new zip.ZipReading(ENTRIES, read));
  const pieces = [];
  const reading = new zip.ZipReading(ENTRIES, read);
  for (let next = await reading.next(); next; next = await reading.next()) pieces.push([next, structuredClone(reading.mark())]);
  let before = 0;
  for (const [bytes, mark] of pieces) {
    before += bytes.length;
    const rest = await all(new zip.ZipReading(ENTRIES, read, mark));
    assert.ok(rest.equals(whole.subarray(before)), `after ${before} bytes`);
  }
  assert.ok(pieces.length > 40);
});

test("zip64: a file of more than 4 GiB and 70,000 entries", async () => {
  // The file is made sparse on the disk: its zeros are left out of what is written.
  const big = [{ name: "first", size: 3, modified_ms: AT, executable: false }, { name: "zeros", size: 4 * 2 ** 30 + 16 * 2 ** 20, modified_ms: AT, executable: false }, { name: "last", size: 3, modified_ms: AT, executable: false }];
  const zeros = new Uint8Array(16 * 2 ** 20);
  async function* read_big(at) {
    if (at !== 1) return yield bytes_of(3);
    for (let left = big[1].size; left > 0; left -= zeros.length) yield zeros;
  }
  const path = join(folder, "big.zip");
  const file = await open(path, "w");
  let at = 0;
  const reading = new zip.ZipReading(big, read_big);
  for (let next = await reading.next(); next; next = await reading.next()) {
    if (next !== zeros) await file.write(next, 0, next.length, at);
    at += next.length;
  }
  await file.close();
  assert.equal(at, zip.zip_size(big));
  assert.match(execFileSync("unzip", ["-Z", "-l", path], { encoding: "utf8" }), /4311744512/);
  assert.match(execFileSync("unzip", ["-t", path, "first", "last"], { encoding: "utf8" }), /No errors detected/);
  const sizes = "import zipfile,sys;z=zipfile.ZipFile(sys.argv[1]);print(len(z.infolist()),z.getinfo('last').header_offset>2**32,len(z.read('last')))";
  assert.equal(execFileSync("python3", ["-c", sizes, path], { encoding: "utf8" }).trim(), "3 True 3");

  const many = Array.from({ length: 70_000 }, (_, n) => ({ name: `f${n}`, size: 1, modified_ms: AT, executable: false }));
  const archive = await all(new zip.ZipReading(many, async function* () { yield bytes_of(1); }));
  assert.equal(archive.length, zip.zip_size(many));
  const other = join(folder, "many.zip");
  await writeFile(other, archive);
  assert.equal(execFileSync("python3", ["-c", "import zipfile,sys;z=zipfile.ZipFile(sys.argv[1]);print(len(z.infolist()),z.testzip())", other], { encoding: "utf8" }).trim(), "70000 None");
});

test("a file of another length than was said ends the archive", async () => {
  const one = [{ name: "a", size: 10, modified_ms: AT, executable: false }];
  for (const length of [9, 11]) await assert.rejects(all(new zip.ZipReading(one, async function* () { yield bytes_of(length); })), /than was said/);
});

test("times outside of what the format has are the nearest", async () => {
  for (const modified_ms of [NaN, -1e15, 0, 1e15, Number.MAX_SAFE_INTEGER]) {
    const one = [{ name: "a", size: 1, modified_ms, executable: false }];
    const path = join(folder, "time.zip");
    await writeFile(path, await all(new zip.ZipReading(one, async function* () { yield bytes_of(1); })));
    assert.match(execFileSync("unzip", ["-t", path], { encoding: "utf8" }), /No errors detected/);
  }
});
