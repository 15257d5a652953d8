// The test vectors of SPEC.md against the built module: node --test web-core/tests/vectors.mjs
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { webcrypto } from "node:crypto";

const root = new URL("../..", import.meta.url);
const module = await WebAssembly.compile(await readFile(new URL("web/src/core/core.wasm", root)));
const { exports } = await WebAssembly.instantiate(module, { hither: { random: () => 1 } });

/** The vectors of a file by their names. */
async function pinned(file) {
  const text = await readFile(new URL(`proto-spec/vectors/${file}`, root), "utf8");
  return new Map(text.split("\n\n").filter(Boolean).map((vector) => /^# (.*)\n(.*)$/.exec(vector).slice(1)));
}

const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (count, value) => new Uint8Array(count).fill(value);
const number = (value, width) => Uint8Array.from({ length: width }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256);

/** The module's answer (web-core/src/vectors.rs); "" when the input does not hold. */
function compute(which, ...parts) {
  const input = Buffer.concat([Uint8Array.of(which), ...parts]);
  // The memory may grow: it is looked at afterwards.
  const to = exports.hither_buffer(input.length);
  new Uint8Array(exports.memory.buffer, to, input.length).set(input);
  const length = exports.hither_vector();
  const from = exports.hither_output();
  return new Uint8Array(exports.memory.buffer, from, length).slice();
}

const v1 = await pinned("v1.txt");
const content = await pinned("content-v1.txt");
const secret = bytes(16, 1);
// The vectors' device, whose seed is 32 bytes of 5, and the opener of their streams.
const owner = unhex("6e7a1cdd29b0b78fd13af4c5598feff4ef2a97166e3ca6f2e4fbfccd80505bf1");

test("what follows from the secret", () => {
  const made = hex(compute(1, secret));
  assert.equal(made, v1.get("share id of the secret") + v1.get("read key of the secret"));
  assert.equal(hex(compute(2, secret, number(3, 8), bytes(16, 6))), v1.get("root key of version 3, salt 16 × 06"));
});

test("tickets", () => {
  for (const name of ["ticket with one hint", "ticket with one hint and a relay"]) {
    assert.equal(hex(compute(7, Buffer.from(v1.get(name)))), hex(secret) + hex(owner), name);
    assert.equal(hex(compute(7, Buffer.from(v1.get(name).toUpperCase()))), hex(secret) + hex(owner), name);
    assert.equal(hex(compute(7, Buffer.from(v1.get(name).slice(0, -1)))), "", `${name}, cut off`);
  }
});

test("proofs", () => {
  // The public key of the seed 32 × 6.
  const pair = (seed) => {
    const der = Buffer.concat([unhex("302e020100300506032b657004220420"), seed]);
    return webcrypto.subtle.importKey("pkcs8", der, "Ed25519", true, ["sign"]);
  };
  return pair(bytes(32, 6)).then(async (key) => {
    const opener = Buffer.from((await webcrypto.subtle.exportKey("jwk", key)).x, "base64url");
    const stream = [bytes(32, 2), opener, owner];
    assert.equal(hex(compute(8, secret, ...stream, Uint8Array.of(0, 1, 1))), v1.get("proof of the opener"));
    assert.equal(hex(compute(8, secret, ...stream, Uint8Array.of(0, 2, 1))), v1.get("proof of the acceptor"));
    assert.equal(hex(compute(8, secret, ...stream, Uint8Array.of(1, 1, 3))), v1.get("proof of a reader to a store"));
  });
});

test("a sealed chunk opens to what was sealed, and only whole", () => {
  const record = unhex(content.get("sealed chunk: record of `hello`"));
  const sealed = unhex(content.get("sealed chunk: ciphertext"));
  assert.equal(Buffer.from(compute(3, record, sealed)).toString(), "hello");
  for (let i = 0; i < sealed.length; i++) {
    const other = sealed.slice();
    other[i] ^= 1;
    assert.equal(compute(3, record, other).length, 0);
  }
});

test("WebCrypto opens it too", async () => {
  const record = unhex(content.get("sealed chunk: record of `hello`"));
  const key = await webcrypto.subtle.importKey("raw", record.slice(32, 64), "AES-GCM", false, ["decrypt"]);
  const sealed = unhex(content.get("sealed chunk: ciphertext"));
  const plain = await webcrypto.subtle.decrypt({ name: "AES-GCM", iv: new Uint8Array(12) }, key, sealed);
  assert.equal(Buffer.from(plain).toString(), "hello");
});

test("one whole share, from its head to its files", () => {
  const signed = unhex(content.get("share: signed head"));
  const sealed_root = unhex(content.get("share: sealed root"));
  const head = compute(4, owner, secret, signed);
  assert.equal(hex(head.slice(0, 8)), hex(number(1, 8)));
  assert.equal(hex(head.slice(40)), hex(bytes(16, 6)));
  assert.equal(compute(4, bytes(32, 9), secret, signed).length, 0, "another owner");
  assert.equal(compute(4, owner, bytes(16, 2), signed).length, 0, "another share");

  const records = compute(5, secret, number(signed.length, 4), owner, signed, sealed_root);
  assert.equal(hex(records), content.get("share: records of the manifest's chunks"));
  const manifest = compute(3, records, unhex(content.get("share: sealed manifest chunk")));
  assert.equal(hex(manifest), content.get("share: manifest"));
  const entries = compute(6, manifest);
  assert.equal(entries[0], 5);
  const files = ["first", "second"].map((which, i) => compute(3, entries.slice(4 + 68 * i, 4 + 68 * (i + 1)), unhex(content.get(`share: ${which} sealed chunk`))));
  assert.equal(Buffer.concat(files).toString(), "hello\nhither, a share for tests\n");
});

test("inputs that do not hold give nothing", () => {
  for (let which = 0; which < 12; which++) {
    for (const length of [0, 1, 16, 68, 300]) assert.equal(compute(which, bytes(length, 7)).length === 0 || which <= 2 || which === 8, true, `${which} ${length}`);
  }
});

test("what was sealed for a device opens in the module of one", async () => {
  const module = await WebAssembly.compile(await readFile(new URL("web/src/core/device.wasm", root)));
  const { exports } = await WebAssembly.instantiate(module, { hither: { random: () => 1 } });
  const sealed = unhex((await readFile(new URL("proto-spec/vectors/sealed-v1.txt", root), "utf8")).trim());
  const sender = (seed) => webcrypto.subtle.importKey("pkcs8", Buffer.concat([unhex("302e020100300506032b657004220420"), seed]), "Ed25519", true, ["sign"]);
  const key = Buffer.from((await webcrypto.subtle.exportKey("jwk", await sender(bytes(32, 6)))).x, "base64url");
  const input = Buffer.concat([Uint8Array.of(17), bytes(32, 5), key, bytes(16, 7), sealed]);
  const to = exports.hither_buffer(input.length);
  new Uint8Array(exports.memory.buffer, to, input.length).set(input);
  const length = exports.hither_vector();
  assert.equal(Buffer.from(new Uint8Array(exports.memory.buffer, exports.hither_output(), length)).toString(), "hello");
});
