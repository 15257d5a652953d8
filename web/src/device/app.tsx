/** The device page: pairing, or the views of a page that is one of the user's devices. */
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import type { PageDevice } from "../core/device-api.ts";
import { load_device } from "./load-device.ts";
import { Sendings } from "../give/sendings.tsx";
import { LanguageProvider, useLanguageChoice, useWords, type Language } from "../i18n/index.ts";
import { ServiceLink } from "../link/save/sw-link.ts";
import { Button, Notice, Page, Spinner, useHeadingFocus, useTitle } from "../ui-kit/components.tsx";
import { Icon, type IconName } from "../ui-kit/icons.tsx";
import { Devices } from "./devices.tsx";
import { Inbox } from "./inbox.tsx";
import { Pair } from "./pair.tsx";
import { Requests } from "./requests.tsx";
import { TABS, address, go, useRoute, type Route, type Tab } from "./route.ts";
import { Send, Shared } from "./send.tsx";
import { ShareView } from "./share-view.tsx";
import { ThisPage, useForget } from "./this-page.tsx";
import { device_words } from "./words.ts";

const ICONS: Record<Tab, IconName> = { devices: "device", inbox: "inbox", requests: "question", sent: "send", page: "settings" };

export function App({ load }: { load: (language: Language) => Promise<void> }) {
  const language = useLanguageChoice(load);
  return (
    <LanguageProvider value={language}>
      <DevicePage />
    </LanguageProvider>
  );
}

/** The device of this browser, drawn anew when anything of it changes. */
function useDevice(): { device: PageDevice | undefined; failed: "" | "failed" | "elsewhere"; again: () => void } {
  const [device, set_device] = useState<PageDevice>();
  const [failed, set_failed] = useState<"" | "failed" | "elsewhere">("");
  const [turn, set_turn] = useState(0);
  const [, tick] = useState(0);
  useEffect(() => {
    let here = true;
    let stop = () => {};
    load_device()
      .then((core) => core.device())
      .then(
        (made) => {
          if (!here) return;
          set_device(made);
          stop = made.onchange(() => tick((n) => n + 1));
        },
        (problem: { code?: string }) => here && set_failed(problem?.code === "elsewhere" ? "elsewhere" : "failed"),
      );
    return () => {
      here = false;
      stop();
    };
  }, [turn]);
  const again = useCallback(() => {
    set_failed("");
    set_turn((n) => n + 1);
  }, []);
  return { device, failed, again };
}

function DevicePage() {
  const { t } = useWords(device_words);
  const { device, failed, again } = useDevice();
  const [route, set_route] = useRoute();
  // Pairing stays on the screen until its end was read: by then the device is no new one any more.
  const [pairing, set_pairing] = useState(false);
  const link = useMemo(() => ServiceLink.start(), []);
  const fresh = pairing || device?.state === "new";
  const paired = device && !fresh && device.state !== "removed";
  // The secret of a code leaves the address when it is not needed any more.
  const pairing_done = useCallback(() => {
    set_pairing(false);
    history.replaceState(null, "", "/#devices");
    set_route({ view: "devices", id: "" });
  }, []);
  return (
    <Page foot={<span>{t("served_by", { host: location.host })}</span>}>
      {!isSecureContext && <Notice tone="bad" title={t("insecure_title")} still>{t("insecure")}</Notice>}
      {failed !== "" && <h1 class="for-readers">Hither</h1>}
      {failed !== "" && (
        <Notice tone={failed === "elsewhere" ? "info" : "bad"} title={t(failed === "elsewhere" ? "elsewhere_title" : "failed_title")}>
          <p>{t(failed)}</p>
          <div><Button icon="refresh" onClick={again}>{t("try_again")}</Button></div>
        </Notice>
      )}
      {!device && failed === "" && <Starting />}
      {device?.state === "removed" && !fresh && <Removed device={device} />}
      {device && fresh && <Pair device={device} code={route.pair} onBusy={set_pairing} onDone={pairing_done} />}
      {device && paired && (route.pair === undefined ? <Views device={device} route={route} link={link} /> : <Already onDone={pairing_done} />)}
    </Page>
  );
}

/** Time after which starting says what it waits for, ms. */
const LONG_MS = 5_000;

function Starting() {
  const { t } = useWords(device_words);
  const [long, set_long] = useState(false);
  useTitle("Hither");
  useEffect(() => {
    const timer = setTimeout(() => set_long(true), LONG_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div class="stack opening">
      <h1 class="for-readers">Hither</h1>
      <Spinner label={t("starting")} />
      {long && <p class="muted" role="status">{t("starting_long")}</p>}
    </div>
  );
}

function Removed({ device }: { device: PageDevice }) {
  const { t } = useWords(device_words);
  const { forget, busy, failed } = useForget(device);
  useTitle(`${t("removed_title")} – Hither`);
  return (
    <>
      <h1>{t("removed_title")}</h1>
      <p>{t("removed")}</p>
      {failed && <Notice tone="bad">{t("not_forgotten")}</Notice>}
      {busy ? <Spinner label={t("starting")} /> : <div><Button kind="primary" onClick={forget}>{t("begin_anew")}</Button></div>}
    </>
  );
}

/** A code was opened in a browser that is a device already. */
function Already({ onDone }: { onDone: () => void }) {
  const { t } = useWords(device_words);
  useTitle(`${t("already_title")} – Hither`);
  return (
    <>
      <h1>{t("already_title")}</h1>
      <p>{t("already")}</p>
      <div><Button kind="primary" onClick={onDone}>{t("to_devices")}</Button></div>
    </>
  );
}

function Tabs({ device, tab }: { device: PageDevice; tab: Tab | undefined }) {
  const { t } = useWords(device_words);
  const waiting: Partial<Record<Tab, number>> = {
    inbox: device.inbox().filter((one) => !one.read).length,
    requests: device.asked().filter((one) => one.state === "open").length,
  };
  return (
    <nav class="tabs" aria-label={t("views")}>
      <ul>
        {TABS.map((one) => {
          const n = waiting[one] ?? 0;
          return (
            <li key={one}>
              <a href={address(one)} aria-current={one === tab ? "page" : undefined}>
                <Icon name={ICONS[one]} />
                <span>{t(`tab.${one}`)}</span>
                {n > 0 && <span class="count"><span aria-hidden="true">{n}</span><span class="for-readers">{t("waiting", { n })}</span></span>}
              </a>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}

function tab_of({ view }: Route): Tab | undefined {
  return view === "send" || view === "shared" ? "devices" : view === "share" ? "inbox" : view;
}

function Views({ device, route, link }: { device: PageDevice; route: Route; link: Promise<ServiceLink | undefined> }) {
  const { t } = useWords(device_words);
  const { view, id } = route;
  const heading = useHeadingFocus(`${view}/${id}`);
  const open = device.asked().filter((one) => one.state === "open");
  const title = t(`tab.${tab_of(route) ?? "devices"}`);
  useTitle(`${title} – Hither`);
  return (
    <>
      <Tabs device={device} tab={tab_of(route)} />
      {device.state === "offline" && <Notice tone="warn" title={t("offline_title")}>{t("offline")}</Notice>}
      {device.stuck && (
        <Notice tone="warn" title={t("stuck_title")}>
          <p>{t(`stuck.${device.stuck}`)}</p>
          {view !== "inbox" && <div><Button onClick={() => go("inbox")}>{t("to_inbox")}</Button></div>}
        </Notice>
      )}
      {open.length > 0 && view !== "requests" && (
        <Notice tone="info" title={t("asked_notice", { n: open.length })}>
          <div><Button kind="primary" onClick={() => go("requests")}>{t("look")}</Button></div>
        </Notice>
      )}
      {view !== "share" && <h1 tabIndex={-1} ref={heading} class={view === "send" || view === "shared" ? "for-readers" : undefined}>{title}</h1>}
      {view === "devices" && <Devices device={device} />}
      {view === "send" && <Send key={id} device={device} id={id} />}
      {view === "shared" && <Shared device={device} />}
      {view === "inbox" && <Inbox device={device} />}
      {view === "share" && <ShareView key={id} device={device} id={id} link={link} />}
      {view === "requests" && <Requests device={device} to={id} />}
      {view === "sent" && (device.sendings().length === 0 ? <p class="muted">{t("nothing_sent")}</p> : <Sendings sender={device} reader />)}
      {view === "page" && <ThisPage device={device} />}
    </>
  );
}
