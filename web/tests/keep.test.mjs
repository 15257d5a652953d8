// The data that a browser keeps of parts of a page, in Chromium: one transaction for what belongs together, and nothing of what was forgotten.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import esbuild from "esbuild";
import { launch, open } from "./browser.mjs";
import { serve, test_build } from "./serve.mjs";

let browser, server, opened, page;
before(async () => {
  server = await serve({ dist: await test_build() });
  browser = await launch();
  opened = await open(browser, `${server.origin}/manifest.webmanifest`);
  page = opened.page;
  const entry = fileURLToPath(new URL("../src/core/device/keep.ts", import.meta.url));
  const { outputFiles } = await esbuild.build({ entryPoints: [entry], bundle: true, write: false, format: "iife", globalName: "kept", target: "es2022" });
  await page.evaluate(`${outputFiles[0].text}; globalThis.kept = kept;`);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

test("w4_changes_that_belong_together_are_kept_together_or_not_at_all", async () => {
  const found = await page.evaluate(async () => {
    const keep = await kept.DatabaseKeep.open("together");
    await keep.write([{ store: "facts", key: "a", value: 1 }, { store: "outbox", key: "b", value: 2 }]);
    // A function cannot be kept.
    const refused = await keep.write([{ store: "facts", key: "a", value: 3 }, { store: "letters", key: "c", value: () => {} }, { store: "outbox", key: "b" }]).then(() => "kept", (error) => error.name);
    const all = [refused, await keep.all("facts"), await keep.all("letters"), await keep.get("outbox", "b")];
    await keep.write([{ store: "facts", key: "a" }, { store: "outbox", key: "b", value: 4 }]);
    return [...all, await keep.get("facts", "a"), await keep.get("outbox", "b")];
  });
  assert.deepEqual(found, ["DataCloneError", [["a", 1]], [], 2, undefined, 4]);
});

test("w2_visits_that_are_over_are_swept_and_others_stay", async () => {
  const found = await page.evaluate(async () => {
    const of = async (prefix, ends) => {
      const keep = await kept.DatabaseKeep.open("visits", prefix);
      await keep.put("facts", "seed", 1);
      await keep.put("sendings", "one", 1);
      if (ends !== undefined) await keep.put("facts", "ends", ends);
      return keep;
    };
    const all = [await of("over/", 50), await of("open/", 150), await of("old/")];
    await all[1].sweep("ends", 100);
    return Promise.all(all.map(async (keep) => [(await keep.all("facts")).length, (await keep.all("sendings")).length]));
  });
  assert.deepEqual(found, [[0, 0], [2, 1], [0, 0]]);
});

test("w3_a_database_is_forgotten_also_while_a_tab_has_it_and_that_tab_goes_on", async () => {
  const found = await page.evaluate(async () => {
    const held = await kept.DatabaseKeep.open("forgotten", "a/");
    await held.put("facts", "seed", 1);
    await kept.forget_database("forgotten");
    const gone = !(await indexedDB.databases()).some(({ name }) => name === "forgotten");
    const before = await held.get("facts", "seed");
    await held.put("facts", "seed", 2);
    return [gone, before, await held.get("facts", "seed")];
  });
  assert.deepEqual(found, [true, undefined, 2]);
  await opened.context.close();
});
