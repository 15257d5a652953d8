// Decisions of the dashboard and the LAN page without a browser: events, maps, addresses, words of settings,
// the queue of uploads.
import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../build.mjs";
import { compiled } from "./compiled.mjs";
import { recorded } from "./tools/fake-daemon.mjs";

const api = await compiled("src/dashboard/api.ts");
const map = await compiled("src/dashboard/spanmap.tsx");
const route = await compiled("src/dashboard/route.ts");
const settings = await compiled("src/dashboard/settings-words.ts");
const uploads = await compiled("src/lan/uploads.ts");
const preview = await compiled("src/lan/preview.ts");

test("events are read whole, however the text is cut", () => {
  const text = 'data: {"a":1}\n\n: alive\n\nevent: x\ndata: {"b":\ndata: 2}\n\ndata: {"c":3}\r\n\r\ndata: {"d"';
  for (let at = 0; at <= text.length; at += 1) {
    const first = api.split_events(text.slice(0, at));
    const second = api.split_events(first.rest + text.slice(at));
    assert.deepEqual([...first.events, ...second.events], ['{"a":1}', '{"b":\n2}', '{"c":3}'], `cut at ${at}`);
    assert.equal(second.rest, 'data: {"d"');
  }
});

test("a map's runs become its cells, and nonsense does no harm", () => {
  const runs = [{ cells: 2, state: "source", source: 1 }, { cells: 1, state: "in_flight", source: 0 }, { cells: 1, state: "earlier" }];
  const cells = map.cells_of({ cells: 6, runs });
  assert.equal(cells.length, 6);
  assert.deepEqual(map.count_cells(cells, 2), { missing: 2, in_flight: 1, earlier: 1, local: 0, by_source: [0, 2] });
  assert.equal(map.cells_of({ cells: 3, runs: [{ cells: 1e9, state: "missing" }] }).length, 3);
  const real = recorded().view;
  const counted = map.count_cells(map.cells_of(real.map), real.sources.length);
  const all = counted.missing + counted.in_flight + counted.earlier + counted.local + counted.by_source.reduce((a, b) => a + b, 0);
  assert.equal(all, real.map.cells);
  assert.ok(counted.by_source.every((part) => part > 0), "both sources of the recorded fetch gave something");
});

test("addresses name screens and what is looked at there; others lead to the first", () => {
  assert.deepEqual(route.parse_route("#/transfers/6d347bb6"), { screen: "transfers", id: "6d347bb6" });
  assert.deepEqual(route.parse_route(route.address("groups", "a/b %41#?")), { screen: "groups", id: "a/b %41#?" });
  for (const hash of ["", "#", "#/nowhere", "#/__proto__/x", "#open=abc"]) assert.equal(route.parse_route(hash).screen, "devices", hash);
  assert.deepEqual(route.parse_route("#/shares/%E0%A4"), { screen: "shares", id: "" });
});

test("every key of the daemon has words in the other languages, and an area", async () => {
  const keys = [...(await readFile(new URL("../../api/src/config_keys.rs", import.meta.url), "utf8")).matchAll(/^ {8}name: "([\w.]+)",$/gm)].map(([, key]) => key);
  assert.ok(keys.length > 40, "the table of keys was found");
  for (const key of keys) {
    assert.ok(settings.ABOUT[key]?.de && settings.ABOUT[key]?.zh, `no words for ${key}`);
    assert.ok(settings.AREAS.includes(settings.area_of(key)), key);
  }
  for (const { key, value } of recorded().config) {
    const choices = settings.CHOICES[key];
    if (choices) assert.ok(choices.includes(value), `${key}: ${value} is none of its choices`);
  }
});

/** A queue whose sending the test decides. */
function queue() {
  const begun = [];
  const all = new uploads.Uploads((file, name, told) => {
    begun.push({ name, told, stopped: false });
    return () => { begun.find((one) => one.name === name).stopped = true; };
  });
  return { all, begun, of: (...names) => names.map((name) => ({ file: new Blob([name]), name })), states: () => all.list.map((one) => one.state) };
}

test("two files are sent at a time, the next when one is there or has failed", () => {
  const { all, begun, of, states } = queue();
  all.add(of("a", "b", "c", "d"));
  assert.deepEqual(states(), ["sending", "sending", "waiting", "waiting"]);
  assert.ok(all.busy);
  begun[0].told.ondone("a (2)");
  assert.deepEqual(states(), ["done", "sending", "sending", "waiting"]);
  assert.equal(all.list[0].kept, "a (2)");
  begun[1].told.onfailed(Object.assign(new Error("full"), { code: "no_space" }));
  assert.deepEqual(states(), ["done", "failed", "sending", "sending"]);
  begun[2].told.ondone("c");
  begun[3].told.ondone("d");
  assert.ok(!all.busy);
});

test("a failed file is tried again, a dropped one is stopped and tells nothing more", () => {
  const { all, begun, of, states } = queue();
  all.add(of("a", "b", "c"));
  begun[0].told.onfailed(new Error("away"));
  all.retry(all.list[0].id);
  assert.deepEqual(states(), ["waiting", "sending", "sending"]);
  const [, b] = all.list;
  all.drop(b.id);
  assert.ok(begun[1].stopped);
  assert.deepEqual(states(), ["sending", "sending"]);
  begun[1].told.ondone("b");
  begun[1].told.onfailed(new Error("late"));
  assert.deepEqual(states(), ["sending", "sending"]);
  all.retry(all.list[0].id);
  assert.equal(begun.length, 4, "what is being sent is not begun again");
});

test("the list of files is bounded; what is done makes room", () => {
  const { all, begun, of } = queue();
  const many = of(...Array.from({ length: 600 }, (_, at) => `f${at}`));
  assert.equal(all.add(many), 100);
  assert.equal(all.list.length, 500);
  begun[0].told.ondone("f0");
  assert.equal(all.add(of("one more")), 0);
  assert.equal(all.list.length, 500);
  assert.ok(!all.list.some((one) => one.name === "f0"));
});

test("only what the daemon gives inline is looked at", () => {
  for (const [name, kind] of [["a.JPG", "image"], ["b.tar.mp4", "video"], ["c.opus", "audio"], ["d.md", "text"]]) assert.equal(preview.shows(name), kind, name);
  for (const name of ["x.html", "x.svg", "x.xhtml", "x.pdf", "jpg", ".", "x.js", "png.exe"]) assert.equal(preview.shows(name), undefined, name);
});

test("script and style of the dashboard are at most 60 kB, those of the page on the network 30 kB, with brotli", async () => {
  const out = await mkdtemp(join(tmpdir(), "hither-sizes-"));
  const sizes = await build({ out });
  await rm(out, { recursive: true });
  for (const [name, most] of [["dashboard", 60_000], ["lan", 30_000]]) {
    const parts = [...sizes].filter(([path]) => path.startsWith(`assets/${name}-`));
    assert.equal(parts.length, 2, name);
    const all = parts.reduce((sum, [, size]) => sum + size.br, 0);
    assert.ok(all <= most, `${name}: ${all} bytes`);
  }
});
