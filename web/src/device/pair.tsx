/** Pairing: the code of an own device, three words on both screens, and what is granted. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { PageDevice } from "../core/device-api.ts";
import { ScanDialog, useCanScan } from "../give/scan.tsx";
import { useWords } from "../i18n/index.ts";
import { Button, CopyText, Field, Live, Name, Notice, Spinner, useTitle } from "../ui-kit/components.tsx";
import { Icon } from "../ui-kit/icons.tsx";
import { code_of, place_of } from "./links.ts";
import { device_words, type DeviceKey } from "./words.ts";

type Step = { kind: "form" } | { kind: "connecting" } | { kind: "words"; words: readonly string[] } | { kind: "done"; name: string };

const KNOWN = new Set(["ticket", "spent", "declined", "unreachable", "not_found", "busy", "refused", "too_new"]);
/** Longest name of a device, bytes. */
const NAME_MOST = 64;

/** The first name of this page: the browser and the system. */
function first_name(): string {
  const agent = navigator.userAgent;
  const browser = /Firefox/.test(agent) ? "Firefox" : /Edg\//.test(agent) ? "Edge" : /Chrome\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "Browser";
  const system = /Android/.test(agent) ? "Android" : /iPhone/.test(agent) ? "iPhone" : /iPad/.test(agent) ? "iPad" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "Mac" : /Linux/.test(agent) ? "Linux" : "";
  return system === "" ? browser : `${browser}, ${system}`;
}

/** `code`: the one that the address has; nothing is done with it before the person says so. */
export function Pair({ device, code, onBusy, onDone }: { device: PageDevice; code: string | undefined; onBusy: (busy: boolean) => void; onDone: () => void }) {
  const { t } = useWords(device_words);
  const [step, set_step] = useState<Step>({ kind: "form" });
  const [problem, set_problem] = useState<string>();
  const running = useRef<AbortController | undefined>(undefined);
  useTitle(`${t("pair_title")} – Hither`);
  useEffect(() => () => running.current?.abort(), []);
  const pair = async (text: string, name: string) => {
    const stop = new AbortController();
    running.current = stop;
    set_problem(undefined);
    set_step({ kind: "connecting" });
    onBusy(true);
    try {
      const { name: other } = await device.pair(text, name, (words) => set_step({ kind: "words", words }), stop.signal);
      set_step({ kind: "done", name: other });
    } catch (caught) {
      const { code: why } = caught as { code?: string };
      set_step({ kind: "form" });
      onBusy(false);
      if (why !== "aborted") set_problem(why !== undefined && KNOWN.has(why) ? why : "other");
    }
  };
  const stop = () => {
    running.current?.abort();
    set_step({ kind: "form" });
  };
  return (
    <>
      <h1>{t("pair_title")}</h1>
      {problem && <Notice tone="bad" title={t(`pair_problem.${problem}` as DeviceKey)} />}
      {step.kind === "form" && <Form code={code} onPair={(text, name) => void pair(text, name)} />}
      {step.kind === "connecting" && <div class="card padded stack"><Spinner label={t("pair_connecting")} /><div><Button onClick={stop}>{t("cancel")}</Button></div></div>}
      {step.kind === "words" && <Words words={step.words} onStop={stop} />}
      {step.kind === "done" && <Done name={step.name} onDone={onDone} />}
    </>
  );
}

function Form({ code, onPair }: { code: string | undefined; onPair: (text: string, name: string) => void }) {
  const { t } = useWords(device_words);
  const [text, set_text] = useState(code ?? "");
  const [name, set_name] = useState(first_name);
  const [error, set_error] = useState<"missing" | "broken">();
  const [scanning, set_scanning] = useState(false);
  const can_scan = useCanScan();
  useEffect(() => set_text(code ?? ""), [code]);
  /** Takes a code, or leads to the page that another kind of link is for. */
  const take = (said: string): string | undefined => {
    const found = code_of(said);
    if (found && found.kind !== "pair") location.assign(place_of(found.kind, found.code));
    return found?.kind === "pair" ? found.code : undefined;
  };
  const long = new TextEncoder().encode(name).length > NAME_MOST;
  return (
    <>
      <p>{t("pair_about")}</p>
      <form
        class="card padded stack"
        onSubmit={(event) => {
          event.preventDefault();
          const found = take(text);
          if (found === undefined) set_error(text.trim() === "" ? "missing" : "broken");
          else if (!long) onPair(found, name.trim());
        }}
      >
        {code === undefined ? (
          <>
            <h2>{t("pair_how")}</h2>
            <ol class="steps">
              <li>
                {t("pair_step_1")}
                <CopyText text="hither pair --web" label={t("pair_command")} />
              </li>
              <li>{t(can_scan ? "pair_step_2_scan" : "pair_step_2")}</li>
            </ol>
            {can_scan && <div><Button kind="primary" icon="camera" onClick={() => set_scanning(true)}>{t("pair_scan")}</Button></div>}
            <Field
              label={t("pair_code")}
              hint={t("pair_code_hint")}
              error={error && t(`pair_code_${error}`)}
              value={text}
              onValue={(value) => {
                set_text(value);
                set_error(undefined);
              }}
            />
          </>
        ) : (
          <Notice tone="info" title={t("pair_opened")} still />
        )}
        <Field label={t("name")} hint={t("name_hint")} value={name} onValue={set_name} error={long ? t("name_long") : undefined} />
        <Granted />
        <div><Button kind={can_scan && code === undefined ? "plain" : "primary"} icon="link" type="submit" off={long}>{t("pair_now")}</Button></div>
      </form>
      <Notice tone="warn" title={t("code_of_relay_title", { host: location.host })} still><p>{t("code_of_relay", { host: location.host })}</p></Notice>
      {scanning && (
        <ScanDialog
          onText={(said) => {
            const found = take(said);
            if (found === undefined) return false;
            set_text(found);
            set_scanning(false);
            onPair(found, name.trim());
            return true;
          }}
          onClose={() => set_scanning(false)}
        />
      )}
    </>
  );
}

/** The rights of a page, and those that it has not. */
function Granted() {
  const { t } = useWords(device_words);
  return (
    <div class="stack granted">
      <h2>{t("granted_title")}</h2>
      <ul class="marked">
        <li class="yes"><Icon name="check" />{t("granted_may")}</li>
        <li class="no"><Icon name="close" />{t("granted_not")}</li>
        <li class="no"><Icon name="trash" />{t("granted_month")}</li>
      </ul>
    </div>
  );
}

function Words({ words, onStop }: { words: readonly string[]; onStop: () => void }) {
  const { t } = useWords(device_words);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <div class="card padded stack">
      <h2 ref={heading} tabIndex={-1}>{t("words_title")}</h2>
      <p class="three-words">{words.map((word, at) => <span key={at} lang="en"><Name text={word} /></span>)}</p>
      <p>{t("words_compare")}</p>
      <Spinner label={t("words_waiting")} />
      <div><Button kind="danger" onClick={onStop}>{t("words_differ")}</Button></div>
    </div>
  );
}

function Done({ name, onDone }: { name: string; onDone: () => void }) {
  const { t } = useWords(device_words);
  return (
    <>
      <Live every={0} text={t("pair_done")} />
      <Notice tone="good" title={<>{t("pair_done")} <Name text={name} /></>}><p>{t("pair_done_more")}</p></Notice>
      <div><Button kind="primary" onClick={onDone}>{t("to_devices")}</Button></div>
    </>
  );
}
