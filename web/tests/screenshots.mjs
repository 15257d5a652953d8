// Pictures of the screens for the documents: node tests/screenshots.mjs [folder]
import { mkdir } from "node:fs/promises";
import { launch, open, PHONE } from "./browser.mjs";
import { serve, test_build } from "./serve.mjs";

const folder = process.argv[2] ?? new URL("../../docs/screens", import.meta.url).pathname;
const TICKET = `hither1${"qpzry9x8gf2tvdw0s3jn54khce6mua7l".repeat(6)}`;
const DESK = { width: 1100, height: 800 };

await mkdir(folder, { recursive: true });
const server = await serve({ dist: await test_build() });
const browser = await launch();

async function picture(name, { fake = {}, act, ...options }) {
  const { page, context } = await open(browser, `${server.origin}/l#${TICKET}`, {
    size: DESK,
    ...options,
    setup: (page) => page.addInitScript((fake) => {
      globalThis.fake = fake;
      delete globalThis.showSaveFilePicker;
    }, fake),
  });
  await page.locator(".list .row").first().waitFor();
  await act?.(page);
  await page.waitForTimeout(400);
  await page.screenshot({ path: `${folder}/${name}.png` });
  await context.close();
}

const preview = async (page) => {
  await page.getByRole("button", { name: /^Gipfel/ }).click();
  await page.waitForFunction(() => document.querySelector(".preview img")?.naturalWidth > 0);
};
const download = async (page) => {
  await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download all" }).click()]);
  await page.waitForFunction(() => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")) >= 4, undefined, { timeout: 120_000 });
};
const choose = async (page) => {
  for (const name of ["Karten", "Gipfel.svg", "Ton vom Bach.wav"]) await page.getByRole("checkbox", { name }).check();
};

await picture("link-list", { act: choose });
await picture("link-preview", { act: preview });
await picture("link-download", { fake: { rate: 24_000_000 }, act: download });
await picture("link-dark", { scheme: "dark", act: choose });
await picture("link-phone", { size: PHONE, scheme: "dark", language: "de" });
await picture("link-phone-preview", { size: PHONE, act: preview });
await picture("link-open-in", { act: (page) => page.getByRole("button", { name: "Open in Hither" }).click() });

await browser.close();
await server.close();
