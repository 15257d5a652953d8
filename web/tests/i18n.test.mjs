// Every language has every text, with the same places to fill, and its own plural categories.
import { test } from "node:test";
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";

const folder = new URL("../src/i18n/", import.meta.url);
const files = (await readdir(folder)).filter((name) => name.endsWith(".json"));
const parts = [...new Set(files.map((name) => name.split(".")[0]))];
const read = async (part, language) => JSON.parse(await readFile(new URL(`${part}.${language}.json`, folder), "utf8"));
const forms = (text) => (typeof text === "string" ? [text] : Object.values(text));
const places = (text) => [...new Set(forms(text).flatMap((form) => form.match(/\{\w+\}/g) ?? []))].sort();

for (const part of parts) {
  for (const language of ["de", "zh"]) {
    test(`${part}.${language} has what English has`, async () => {
      const [english, other] = [await read(part, "en"), await read(part, language)];
      assert.deepEqual(Object.keys(other).sort(), Object.keys(english).sort());
      for (const [key, text] of Object.entries(english)) {
        assert.deepEqual(places(other[key]), places(text), key);
        assert.equal(typeof other[key], typeof text, key);
        assert.ok(forms(other[key]).every((form) => form.trim() !== ""), key);
        if (typeof text === "string") continue;
        const categories = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
        assert.deepEqual(Object.keys(other[key]).sort(), [...categories].sort(), key);
      }
    });
  }
  test(`${part}.en is sorted and used`, async () => {
    const english = Object.keys(await read(part, "en"));
    assert.deepEqual(english, [...english].sort());
    const sources = (await sources_of(new URL("../src/", import.meta.url))) + (await sources_of(new URL("../ask/src/", import.meta.url)));
    for (const key of english) assert.ok(sources.includes(`"${key}"`) || sources.includes(`"${key.replace(/_[a-z0-9]+$/, "_")}`) || sources.includes(`\`${key.replace(/_[a-z0-9]+$/, "_")}\${`) || sources.includes(`\`${key.replace(/_.*$/, "_")}`) || sources.includes(`\`${key.slice(0, key.lastIndexOf(".") + 1)}\${`), `${part}: nobody says "${key}"`);
  });
}

async function sources_of(folder) {
  let all = "";
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (/\.tsx?$/.test(entry.name)) all += await readFile(`${entry.parentPath ?? entry.path}/${entry.name}`, "utf8");
  }
  return all;
}
