/** This page itself: its name, notifications, installing, whom it has to be trusted with, and forgetting all of it. */
import { useEffect, useState } from "preact/hooks";
import type { PageDevice } from "../core/device-api.ts";
import { forget_database, VISITS } from "../core/device/keep.ts";
import { forget_language, useWords } from "../i18n/index.ts";
import { Button, Confirm, Field, Live, Notice, Spinner } from "../ui-kit/components.tsx";
import { Notifications, turn_off } from "./notify.tsx";
import { forget_shared } from "./shared.ts";
import { device_words } from "./words.ts";

const NAME_MOST = 64;

/** Gives everything up, and begins as a browser that was never here. */
async function forget_page(device: PageDevice): Promise<void> {
  await turn_off(device).catch(() => {});
  await forget_shared().catch(() => {});
  await device.forget();
  // Links of others that were opened here, too.
  await forget_database(VISITS).catch(() => {});
  forget_language();
  history.replaceState(null, "", "/");
  location.reload();
}

/** Forgetting, which takes a moment: the relay is to hear it. */
export function useForget(device: PageDevice): { forget: () => void; busy: boolean; failed: boolean } {
  const [state, set_state] = useState<"" | "busy" | "failed">("");
  const forget = () => {
    set_state("busy");
    forget_page(device).catch(() => set_state("failed"));
  };
  return { forget, busy: state === "busy", failed: state === "failed" };
}

/** The browser's offer to install the page; it comes once, and early. */
let offer: (Event & { prompt(): Promise<unknown> }) | undefined;
addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  offer = event as typeof offer;
});

export function ThisPage({ device }: { device: PageDevice }) {
  const { t } = useWords(device_words);
  const host = location.host;
  return (
    <>
      <Rename device={device} />
      <Notifications device={device} />
      <Install />
      <section class="card padded stack" aria-labelledby="about">
        <h2 id="about">{t("about")}</h2>
        <Notice tone="warn" title={t("code_of_relay_title", { host })} still><p>{t("code_of_relay", { host })}</p></Notice>
        <p>{t("about_encrypted")}</p>
        <p>{t("about_stays")}</p>
        <p class="small muted">{t("about_device", { id: device.device_id.slice(-8) })}</p>
      </section>
      <Forget device={device} />
    </>
  );
}

function Rename({ device }: { device: PageDevice }) {
  const { t } = useWords(device_words);
  const [name, set_name] = useState(device.name);
  const [state, set_state] = useState<"" | "renamed" | "not_renamed">("");
  const long = new TextEncoder().encode(name).length > NAME_MOST;
  const off = long || name.trim() === "" || name.trim() === device.name;
  return (
    <form
      class="card padded stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (!off) device.rename(name.trim()).then(() => set_state("renamed"), () => set_state("not_renamed"));
      }}
    >
      <Field
        label={t("name")}
        hint={t("name_hint")}
        value={name}
        onValue={(value) => {
          set_name(value);
          set_state("");
        }}
        error={long ? t("name_long") : state === "not_renamed" ? t("not_renamed") : undefined}
      />
      <div><Button type="submit" icon={state === "renamed" ? "check" : "edit"} off={off}>{t("rename")}</Button></div>
      <Live every={0} text={state === "renamed" ? t("renamed") : ""} />
    </form>
  );
}

function Install() {
  const { t } = useWords(device_words);
  const [installed, set_installed] = useState(() => matchMedia("(display-mode: standalone)").matches);
  const [, tick] = useState(0);
  useEffect(() => {
    const done = () => set_installed(true);
    const offered = () => tick((n) => n + 1);
    addEventListener("appinstalled", done);
    addEventListener("beforeinstallprompt", offered);
    return () => {
      removeEventListener("appinstalled", done);
      removeEventListener("beforeinstallprompt", offered);
    };
  }, []);
  return (
    <section class="card padded stack" aria-labelledby="install">
      <h2 id="install">{t("install")}</h2>
      <p>{t(installed ? "installed" : "install_about")}</p>
      {!installed && offer && <div><Button icon="download" onClick={() => void offer?.prompt()}>{t("install_now")}</Button></div>}
    </section>
  );
}

function Forget({ device }: { device: PageDevice }) {
  const { t } = useWords(device_words);
  const [asking, set_asking] = useState(false);
  const { forget, busy, failed } = useForget(device);
  return (
    <section class="card padded stack" aria-labelledby="forget">
      <h2 id="forget">{t("forget")}</h2>
      <p>{t("forget_about")}</p>
      {failed && <Notice tone="bad">{t("not_forgotten")}</Notice>}
      {busy ? <Spinner label={t("starting")} /> : <div><Button kind="danger" icon="trash" onClick={() => set_asking(true)}>{t("forget")}</Button></div>}
      {asking && (
        <Confirm
          title={t("forget_title")}
          action={t("forget")}
          danger
          onDo={() => {
            set_asking(false);
            forget();
          }}
          onClose={() => set_asking(false)}
        >
          <p>{t("forget_body")}</p>
        </Confirm>
      )}
    </section>
  );
}
