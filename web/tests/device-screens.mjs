// Pictures of the device page, of visitors and of the asking element for the documents, with devices that are made up:
//   node tests/device-screens.mjs [FOLDER]        docs/screens when there is none
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { serve_example } from "../ask/example/server.mjs";
import { launch, open, PHONE } from "./browser.mjs";
import { serve, test_build } from "./serve.mjs";

const folder = process.argv[2] ?? fileURLToPath(new URL("../../docs/screens", import.meta.url));
const PAIR = `hither-pair1${"q".repeat(60)}`;
const INBOX = `hither-inbox1${"q".repeat(60)}`;
const ASK = `hither-ask1${"q".repeat(90)}`;
const LAPTOP = "12D3KooWLaptop000000000000000laptop1";
const DESK = { width: 900, height: 760 };
const FILM = [{ name: "film.mkv", size: 734_003_200, modified_ms: 0 }];
const PHOTOS = [{ name: "Gipfel.jpg", size: 4_812_004, modified_ms: 0 }, { name: "See.jpg", size: 3_900_120, modified_ms: 0 }];
const SENDINGS = [
  { state: "uploading", done: 302_000_000, rate: 11_800_000, files: FILM },
  { state: "taken", done: 8_712_124, bytes: 8_712_124, files: PHOTOS },
];

const dist = await test_build();
const server = await serve({ dist, host: "localhost" });
const site = await serve_example({ relay: "https://relay.example", ask: join(dist, "ask") });
const browser = await launch();

async function picture(name, url, fake, options, act) {
  const { page, context } = await open(browser, url, { size: DESK, ...options, setup: (page) => page.addInitScript((fake) => (globalThis.fake_device = fake), fake) });
  await page.locator("h1").first().waitFor();
  await act?.(page);
  await page.waitForTimeout(400);
  await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled", caret: "initial" });
  await context.close();
}
const phone = (more = {}) => ({ size: PHONE, ...more });

await picture("device-words", `${server.origin}/p#${PAIR}`, { state: "new", pair: { yes_ms: 60_000 } }, phone(), async (page) => {
  await page.getByRole("button", { name: "Pair", exact: true }).click();
  await page.getByText("falcon").waitFor();
});
await picture("device-send", `${server.origin}/#send/${LAPTOP}`, { sendings: SENDINGS }, {});
await picture("device-inbox", `${server.origin}/#inbox`, {}, phone({ scheme: "dark" }));
await picture("device-asked", `${server.origin}/#requests`, { asked: [{ kind: "photo", reason: "For the claim" }] }, phone({ language: "de" }));
await picture("visit-inbox", `${server.origin}/i#${INBOX}`, { sendings: SENDINGS }, {});
await picture("visit-ask", `${server.origin}/a#${ASK}`, {}, phone());
await picture("ask-element", `${site.origin}/`, { asker: { opened_ms: 600_000, answer_ms: 600_000 } }, {}, async (page) => {
  await page.waitForFunction(() => customElements.get("hither-ask"));
  await page.evaluate(() => document.getElementById("photo").click());
});

await browser.close();
await server.close();
await site.close();
