// Draws the PNG icons from icon.svg: node tests/icons.mjs
import { readFile, writeFile } from "node:fs/promises";
import { launch } from "./browser.mjs";

const folder = new URL("../static/icons/", import.meta.url);
const svg = await readFile(new URL("icon.svg", folder), "utf8");
// A picture that is masked to a circle needs its content in the middle 80 %, and no corners of its own.
const maskable = svg.replace('viewBox="0 0 32 32"', 'viewBox="-4 -4 40 40"').replace('<rect width="32" height="32" rx="8"', '<rect x="-4" y="-4" width="40" height="40"');
const browser = await launch();
for (const [name, size, drawing] of [["icon-192", 192, svg], ["icon-512", 512, svg], ["maskable-512", 512, maskable]]) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  await page.setContent(`<style>*{margin:0}svg{display:block;width:${size}px;height:${size}px}</style>${drawing}`);
  await writeFile(new URL(`${name}.png`, folder), await page.screenshot({ omitBackground: true }));
  await page.close();
}
await browser.close();
