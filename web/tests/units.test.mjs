// Names, numbers, tickets, trees and ranges, in node.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { compiled } from "./compiled.mjs";

const names = await compiled("src/ui-kit/names.ts");
const { formats } = await compiled("src/ui-kit/format.ts");
const { parse_ticket } = await compiled("src/link/ticket.ts");
const tree = await compiled("src/link/tree.ts");
const source = await compiled("src/link/save/source.ts");
const { range_of, attachment } = await compiled("src/link/save/sw-protocol.ts");
const { way_for } = await compiled("src/link/save/ways.ts");
const { Rate } = await compiled("src/link/save/download.ts");
const i18n = await compiled("src/i18n/index.ts");

test("names are shown as the programs show them (proto-spec/src/name.rs)", async () => {
  assert.equal(names.display_name("a\u001b]0;x\u0007b\u202ec"), "a\ufffd]0;x\ufffdb\ufffdc");
  for (const c of ["\u00ad", "\u034f", "\u115f", "\u180e", "\u200b", "\u200c", "\u200d", "\u2060", "\u2063", "\u2800", "\u3164", "\ufe0f", "\ufeff", "\uffa0", "\u{e0061}", "\u{e01ef}", "\u2028", "\u2066", "\ud800"]) {
    assert.equal(names.display_name(`lap${c}top`), "lap\ufffdtop", c.codePointAt(0).toString(16));
  }
  for (const whole of ["\u{1f468}\u200d\u{1f469}\u200d\u{1f467}", "\u2764\ufe0f\u200d\u{1f525}", "日本語 Ünïcödé", "<img src=x>"]) assert.equal(names.display_name(whole), whole);
  assert.equal(names.display_name("\u{1f468}\u200dx"), "\u{1f468}\ufffdx");
  assert.equal(names.display_name("\u200d\u{1f468}"), "\ufffd\u{1f468}");
  // The tables are those of the programs, character for character.
  const rust = await readFile(new URL("../../proto-spec/src/name.rs", import.meta.url), "utf8");
  const table = (name) => {
    const body = new RegExp(`fn ${name}\\(c: char\\)[^{]*\\{([^}]|\\}(?='))*?matches!\\(([\\s\\S]*?)\\)\\s*\\}`).exec(rust)?.[2] ?? "";
    return [...body.matchAll(/'\\u\{([0-9a-f]+)\}'(?:\.\.='\\u\{([0-9a-f]+)\}')?/g)].map(([, a, b]) => [parseInt(a, 16), parseInt(b ?? a, 16)]);
  };
  const ranges = table("is_invisible");
  assert.ok(ranges.length > 12);
  for (let code = 0xa0; code <= 0x10ffff; code += 1) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    const hidden = ranges.some(([a, b]) => code >= a && code <= b);
    if ((names.display_name(String.fromCodePoint(code)) === "\ufffd") !== (hidden || code === 0xfffd)) assert.fail(code.toString(16));
  }
});

test("names that are saved lead nowhere and are taken by every file system", () => {
  for (const [name, saved] of [
    ["a.txt", "a.txt"],
    ["..\\..\\x", ".._.._x"],
    ["..", "__"],
    [".", "_"],
    ["", "_"],
    ["a/b", "a_b"],
    ["con", "_con"],
    ["NUL.txt", "_NUL.txt"],
    ["com1 .log", "_com1 .log"],
    ["console", "console"],
    ["what?", "what_"],
    ["end. ", "end__"],
    ["two\nlines", "two_lines"],
    ["gpj\u202eexe", "gpj_exe"],
    [".hidden", ".hidden"],
  ]) assert.equal(names.save_name(name), saved, name);
  const long = names.save_name(`${"ü".repeat(300)}.jpeg`);
  assert.ok(Buffer.byteLength(long) <= 240 && long.endsWith("ü.jpeg"));
});

test("numbers as each language writes them, never a thousand of a unit", () => {
  const [en, de, zh] = ["en", "de", "zh"].map(formats);
  assert.equal(en.size(0), "0 bytes");
  assert.equal(en.size(999), "999 bytes");
  assert.equal(en.size(1000), "1 kB");
  assert.equal(en.size(24_310_000), "24.3 MB");
  assert.equal(en.size(99_949_999), "99.9 MB");
  assert.equal(en.size(99_950_000), "100 MB");
  assert.equal(en.size(999_499_999), "999 MB");
  assert.equal(en.size(999_500_000), "1 GB");
  assert.equal(de.size(1_500_000), "1,5 MB");
  assert.equal(de.rate(1_500_000), "1,5 MB/s");
  assert.equal(zh.rate(1_500_000), "1.5 MB/秒");
  assert.equal(en.duration(0.4), "0 sec");
  assert.equal(en.duration(59.6), "1 min");
  assert.equal(en.duration(125), "2 min 5 sec");
  assert.equal(en.duration(86_399), "23 hr 59 min");
  assert.equal(en.duration(200_000), "2 days 7 hr");
  assert.equal(en.relative(0, 3 * 86_400_000), "3 days ago");
  assert.equal(de.relative(0, 86_400_000), "gestern");
  assert.equal(en.time(1e18), "–");
});

test("tickets: what passes can stand in a command", () => {
  const ok = `hither1${"qpzry9x8gf2tvdw0s3jn54khce6mua7l".repeat(5)}`;
  for (const text of [ok, `#${ok}`, `https://relay.example/l#${ok}`, ok.toUpperCase(), `${ok.slice(0, 30)}\n  ${ok.slice(30)}`, ok.replace("q", "%71")]) assert.deepEqual(parse_ticket(text), { ticket: ok }, text);
  for (const text of ["", "#", "https://relay.example/l#", "%20"]) assert.deepEqual(parse_ticket(text), { wrong: "missing" }, text);
  for (const text of [`${ok}'; rm -rf ~; '`, `${ok}$(x)`, "hither1", "hither1b", "other1qq", ok.repeat(8), "%", `${ok}%27`]) assert.deepEqual(parse_ticket(text), { wrong: "broken" }, text);
});

const entry = (index, path, kind = "file", size = 10) => ({ index, path, kind, size: kind === "file" ? size : 0, modified_ms: 1000 * index, executable: false });
const SHARE = [entry(0, [], "folder"), entry(1, ["b"], "folder"), entry(2, ["b", "c"], "folder"), entry(3, ["b", "c", "10.txt"]), entry(4, ["b", "c", "9.txt"]), entry(5, ["B"]), entry(6, ["Äpfel.txt"], "file", 99), entry(7, ["l"], "symlink")];

test("the tree adds up, orders and finds", () => {
  for (const entries of [SHARE, SHARE.map((e) => ({ ...e, path: ["share", ...e.path] }))]) {
    const top = tree.tree_of(entries, "share");
    assert.deepEqual([top.files, top.size, top.children.length], [4, 129, 4]);
    const [c] = top.children[0].children;
    assert.deepEqual(tree.way_to(c).map((node) => node.name), ["share", "b", "c"]);
    assert.deepEqual(tree.sorted(c.children, "name", "en").map((node) => node.name), ["9.txt", "10.txt"]);
    assert.deepEqual(tree.sorted(top.children, "name", "de").map((node) => node.name), ["b", "Äpfel.txt", "B", "l"]);
    assert.deepEqual(tree.search(top, "apfel TXT", "de", 10).found.map((node) => node.name), ["Äpfel.txt"]);
    assert.deepEqual(tree.search(top, ".txt", "en", 2), { found: [c.children[0], c.children[1]], more: true });
  }
  assert.equal(tree.tree_of([], "none").files, 0);
  const deep = [entry(0, [], "folder")];
  for (let depth = 1; depth < 20_000; depth += 1) deep.push({ ...entry(depth, [], "folder"), path: { length: depth, [depth - 1]: "d" } });
  assert.equal(tree.tree_of(deep, "deep").files, 0, "as deep as it may be");
  assert.equal(tree.kind_of("__proto__"), undefined);
  assert.equal(tree.kind_of("a.constructor"), undefined);
  assert.equal(tree.kind_of("x.HTML").type, "text/plain");
});

test("what lies in a chosen folder is not there twice; names in a zip are all different", () => {
  const top = tree.tree_of(SHARE, "share");
  const [b, B, , link] = top.children;
  assert.deepEqual(source.roots_of(new Set([b.children[0], b, B])), [b, B]);
  const named = source.zip_names([b, B, link]);
  assert.equal(named.links, 1);
  assert.deepEqual(named.entries.map(({ name }) => name), ["b/", "b/c/", "b/c/10.txt", "b/c/9.txt", "B (2)"]);
  const clash = tree.tree_of([entry(0, [], "folder"), entry(1, ["a?"]), entry(2, ["a*"]), entry(3, ["A_"]), entry(4, ["a_ (2)"])], "s");
  assert.deepEqual(source.zip_names(clash.children).entries.map(({ name }) => name), ["a_", "a_ (2)", "A_ (3)", "a_ (2) (2)"]);
});

test("ranges and names in headers", () => {
  assert.equal(range_of(null, 10), undefined);
  assert.equal(range_of("bytes=-", 10), undefined);
  assert.equal(range_of("bytes=0-1,3-4", 10), undefined);
  assert.deepEqual(range_of("bytes=2-4", 10), [2, 5]);
  assert.deepEqual(range_of("bytes=2-", 10), [2, 10]);
  assert.deepEqual(range_of("bytes=2-999", 10), [2, 10]);
  assert.deepEqual(range_of("bytes=-3", 10), [7, 10]);
  assert.deepEqual(range_of("bytes=-30", 10), [0, 10]);
  for (const bad of ["bytes=10-", "bytes=5-2", "bytes=-0"]) assert.equal(range_of(bad, 10), null, bad);
  assert.equal(attachment("a\r\nb'\"ü.txt"), "attachment; filename*=UTF-8''a%0D%0Ab%27%22%C3%BC.txt");
});

test("the way of saving, in the order of the design", () => {
  const all = { file: true, stream: true, disk: true, room: 1e12, ios: false };
  assert.equal(way_for(1e9, all, false), "file");
  assert.equal(way_for(1e9, { ...all, file: false }, false), "stream");
  assert.equal(way_for(1e9, { ...all, file: false }, true), "disk");
  assert.equal(way_for(1e9, { ...all, file: false, room: 1e8 }, true), "stream");
  assert.equal(way_for(1e9, { ...all, file: false, stream: false }, false), "disk");
  const none = { file: false, stream: false, disk: false, room: 0, ios: false };
  assert.equal(way_for(99e6, none, false), "memory");
  assert.equal(way_for(101e6, none, false), undefined);
  assert.equal(way_for(1, { ...none, ios: true }, false), undefined);
});

test("a rate is that of the last seconds", () => {
  let now = 0;
  const rate = new Rate(0, () => now);
  let bytes = 0;
  for (; now < 20_000; now += 200) rate.at((bytes += now < 10_000 ? 100 : 1_000));
  assert.ok(Math.abs(rate.rate(bytes) - 5_000) < 300, String(rate.rate(bytes)));
  now += 60_000;
  assert.ok(rate.rate(bytes) < 500);
});

test("languages are chosen by what is wanted most, plurals by the language", () => {
  assert.deepEqual(i18n.choose_language(["fr", "de-AT", "en"]), ["de", "de-AT"]);
  assert.deepEqual(i18n.choose_language(["zh-Hans-CN"]), ["zh", "zh-Hans-CN"]);
  assert.deepEqual(i18n.choose_language(["fr"]), ["en", "en"]);
  const files = { one: "{n} file of {owner}", other: "{n} files of {owner}" };
  const { t } = i18n.words("en", "en-GB", { en: { files }, de: { files }, zh: { files } });
  assert.equal(t("files", { n: 1, owner: "{n}" }), "1 file of {n}");
  assert.equal(t("files", { n: 12_000, owner: "x" }), "12,000 files of x");
});
