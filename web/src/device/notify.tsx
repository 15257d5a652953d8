/** Notifications: the relay wakes this page by web push, after the person asked for it and never by itself. */
import { useEffect, useState } from "preact/hooks";
import type { PageDevice } from "../core/device-api.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Notice, Spinner } from "../ui-kit/components.tsx";
import { NOTICE_CACHE, NOTICE_WORDS } from "../link/save/sw-protocol.ts";
import { device_words } from "./words.ts";

type State = "asking" | "none" | "off" | "on" | "denied" | "working" | "failed";

/** True where a browser can be woken at all; on iPhones only after the page was put on the home screen. */
function able(): boolean {
  return isSecureContext && "Notification" in globalThis && "serviceWorker" in navigator && "PushManager" in globalThis;
}

async function now(device: PageDevice): Promise<State> {
  if (!able()) return "none";
  const { key, set } = await device.push();
  if (!key) return "none";
  if (Notification.permission === "denied") return "denied";
  const registration = await navigator.serviceWorker.getRegistration("/");
  return set && Notification.permission === "granted" && (await registration?.pushManager.getSubscription()) ? "on" : "off";
}

/** The worker has no languages: it says these words. */
async function leave_words(title: string, body: string): Promise<void> {
  const cache = await caches.open(NOTICE_CACHE);
  await cache.put(NOTICE_WORDS, new Response(JSON.stringify({ title, body }), { headers: { "Content-Type": "application/json" } }));
}

async function turn_on(device: PageDevice, title: string, body: string): Promise<State> {
  if ((await Notification.requestPermission()) !== "granted") return Notification.permission === "denied" ? "denied" : "off";
  const { key } = await device.push();
  if (!key) return "none";
  await leave_words(title, body);
  const registration = await navigator.serviceWorker.ready;
  // A subscription with another relay's key cannot be used again.
  await (await registration.pushManager.getSubscription())?.unsubscribe();
  const subscription = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key as Uint8Array<ArrayBuffer> });
  await device.set_push(subscription.toJSON());
  return "on";
}

/** Ends waking, here and at the relay as far as it is reached. */
export async function turn_off(device: PageDevice): Promise<void> {
  if (able()) {
    const registration = await navigator.serviceWorker.getRegistration("/");
    await (await registration?.pushManager.getSubscription())?.unsubscribe();
    await caches.delete(NOTICE_CACHE);
  }
  await device.set_push(undefined);
}

export function Notifications({ device }: { device: PageDevice }) {
  const { t } = useWords(device_words);
  const [state, set_state] = useState<State>("asking");
  useEffect(() => {
    let here = true;
    now(device).then(
      (found) => here && set_state(found),
      () => here && set_state("none"),
    );
    return () => {
      here = false;
    };
  }, [device, device.state]);
  const act = (what: () => Promise<State>) => {
    set_state("working");
    what().then(set_state, () => set_state("failed"));
  };
  return (
    <section class="card padded stack" aria-labelledby="notifications">
      <h2 id="notifications">{t("notify")}</h2>
      <p>{t("notify_about")}</p>
      {(state === "asking" || state === "working") && <Spinner label={t("starting")} />}
      {state === "none" && <p class="muted">{t("notify_none")}</p>}
      {state === "denied" && <Notice tone="warn">{t("notify_denied")}</Notice>}
      {state === "failed" && <Notice tone="bad">{t("notify_failed")}</Notice>}
      {state === "on" && <Notice tone="good">{t("notify_is_on")}</Notice>}
      <div class="cluster">
        {(state === "off" || state === "failed") && <Button kind="primary" onClick={() => act(() => turn_on(device, t("notify_title"), t("notify_body")))}>{t("notify_on")}</Button>}
        {state === "on" && <Button onClick={() => act(async () => (await turn_off(device), "off"))}>{t("notify_off")}</Button>}
      </div>
    </section>
  );
}
