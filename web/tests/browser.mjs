// Chromium for tests: one browser, a fresh profile for each page, and everything that a page must not do
// written down: console errors, violations of the policy, requests to other origins.
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export async function launch(more = []) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [...FLAGS, ...more] });
}

export const PHONE = { width: 360, height: 740 };
export const WIDE = { width: 1440, height: 900 };

/**
 * A page in a context of its own. `problems` fills with what must not happen; `allowed` is a pattern of
 * console lines that a test makes happen.
 */
export async function open(browser, url, { scheme = "light", size = WIDE, language = "en", allowed, touch = false, setup, motion = "reduce", keep_context } = {}) {
  const context = keep_context ?? await browser.newContext({ colorScheme: scheme, viewport: size, locale: language, hasTouch: touch, reducedMotion: motion, acceptDownloads: true });
  const page = await context.newPage();
  const problems = [];
  const origin = new URL(url).origin;
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !allowed?.test(message.text())) problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  page.on("request", (request) => {
    const to = request.url();
    // The viewer of PDF is a part of the browser.
    if (!to.startsWith(`${origin}/`) && !/^(blob|data|chrome-extension|chrome):/.test(to)) problems.push(`request to ${to}`);
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  await setup?.(page, context);
  await page.goto(url);
  return { page, context, problems };
}

/** Resolves when the page shows what it is to show: nothing opens or starts any more, and what moves to an end has reached it. */
export async function settled(page) {
  // Something that is waited for by others, as a request, goes on turning.
  await page.waitForFunction(() => !document.querySelector(".opening") && ![...document.querySelectorAll("main .spinner")].some((one) => !one.closest(".item")));
  await page.evaluate(async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    await frame();
    await frame();
    const ending = document.getAnimations().filter((one) => one.effect?.getComputedTiming().endTime !== Infinity);
    await Promise.all(ending.map((one) => one.finished.catch(() => undefined)));
  });
}

/** Everything that went wrong in a page, also what its policy stopped. */
export async function wrong({ page, problems }) {
  return [...problems, ...(await page.evaluate(() => globalThis.violations ?? []))];
}

/** Violations that axe finds, one line each. It is evaluated by the debugger, which the page's policy does not bind. */
export async function axe(page) {
  await page.evaluate(AXE);
  const result = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return result.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} (${failureSummary})`).join(" | ")}`);
}

/** Controls smaller than 44 × 44 CSS px, and whether the page scrolls sideways. */
export async function layout(page) {
  return page.evaluate(() => {
    const small = [];
    for (const element of document.querySelectorAll("button, a[href], select, input, textarea, label.check, [role=tab]")) {
      const box = (element.matches("label.check input") ? element.closest("label") : element).getBoundingClientRect();
      const inline = element.matches("p a, .notice a, .skip");
      if (box.width > 0 && !inline && element.checkVisibility() && (box.height < 43.5 || box.width < 43.5)) small.push(`${element.outerHTML.slice(0, 120)} ${box.width}×${box.height}`);
    }
    const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
    return wide ? [...small, `the page scrolls sideways: ${document.documentElement.scrollWidth}`] : small;
  });
}
