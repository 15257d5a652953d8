// A download in a tab whose network nobody records. The tool that drives tests has browsers keep up to 200 MB of what a page
// gets, so that it can be asked for: memory is measured without that.
import { mkdtemp, readdir, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { watch_memory } from "./memory.mjs";

/** Time until the list is there, at most. */
const LISTED_MS = 120_000;

/** Opens a link, downloads with the button of that name (a pattern), gives the file, the seconds and the memory it took. */
export async function unwatched_download(browser, link, button, most_ms) {
  const session = await browser.newBrowserCDPSession();
  const { browserContextId } = await session.send("Target.createBrowserContext", { disposeOnDetach: true });
  const folder = await mkdtemp(join(tmpdir(), "hither-download-"));
  await session.send("Browser.setDownloadBehavior", { behavior: "allowAndName", browserContextId, downloadPath: folder, eventsEnabled: true });
  const { targetId } = await session.send("Target.createTarget", { url: link, browserContextId });
  const { sessionId } = await session.send("Target.attachToTarget", { targetId, flatten: false });
  const call = caller(session, sessionId);
  const end = performance.now() + LISTED_MS;
  // Before the page is there a call fails.
  while (!(await call("Runtime.evaluate", { expression: `(${listed})()` }).catch(() => undefined))?.result.value) {
    if (performance.now() > end) throw new Error("the list does not come");
    await new Promise((go) => setTimeout(go, 200));
  }
  const memory = watch_memory();
  const start = performance.now();
  const done = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("the download does not end")), most_ms).unref();
    session.on("Browser.downloadWillBegin", ({ suggestedFilename }) => (done.name = suggestedFilename));
    session.on("Browser.downloadProgress", ({ state }) => {
      if (state === "completed") resolve();
      if (state === "canceled") reject(new Error("the browser ended the download"));
    });
  });
  await call("Runtime.evaluate", { expression: `(${click})(${button})` });
  await done;
  const seconds = (performance.now() - start) / 1000;
  const { grown } = memory();
  const [file] = await readdir(folder);
  await session.send("Target.closeTarget", { targetId });
  const path = join(folder, "download");
  await rename(join(folder, file), path);
  return { path, name: done.name, seconds, grown };
}

/** Calls in a session that is nested in the browser's own. */
function caller(session, sessionId) {
  let id = 0;
  return (method, params) =>
    new Promise((resolve, reject) => {
      const own = (id += 1);
      const hear = ({ sessionId: of, message }) => {
        const answer = JSON.parse(message);
        if (of !== sessionId || answer.id !== own) return;
        session.off("Target.receivedMessageFromTarget", hear);
        const problem = answer.error?.message ?? answer.result?.exceptionDetails?.text;
        if (problem) reject(new Error(problem));
        else resolve(answer.result);
      };
      session.on("Target.receivedMessageFromTarget", hear);
      session.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id: own, method, params }) }).catch(reject);
    });
}

/** Runs in the page: says whether the list is there; the browser is not to ask for a place. */
function listed() {
  delete globalThis.showSaveFilePicker;
  return document.querySelector(".list .row") !== null;
}

/** Runs in the page: the button whose name matches. */
function click(name) {
  [...document.querySelectorAll("button")].find((button) => name.test(button.getAttribute("aria-label") ?? button.textContent ?? "")).click();
}
