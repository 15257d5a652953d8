/** A new request: what, of which device, in which manner, why. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { AskKind, AskRequest, PageDevice } from "../core/device-api.ts";
import { KIND_ICONS } from "../give/answer.tsx";
import { useWords } from "../i18n/index.ts";
import { Button, Check, Dialog, Field, Notice } from "../ui-kit/components.tsx";
import { Icon } from "../ui-kit/icons.tsx";
import { display_name } from "../ui-kit/names.ts";
import { called, in_order } from "./devices.tsx";
import { device_words } from "./words.ts";

const KINDS: readonly AskKind[] = ["photo", "video", "audio", "file", "qr", "location", "clipboard", "playing", "place"];
/** Manners that make sense for a kind; the first is usual. */
export const MANNERS: Partial<Record<AskKind, readonly AskRequest["which"][]>> = {
  photo: ["picked", "latest", "live"], video: ["picked", "latest", "live"], audio: ["picked", "live"], file: ["picked", "latest", "named"], qr: ["live", "picked"],
};
const FILES: readonly AskKind[] = ["photo", "video", "audio", "file"];
/** Longest reason, bytes. */
const REASON_MOST = 256;
const VALID: readonly (readonly [string, number])[] = [["valid.hour", 3_600], ["valid.day", 86_400], ["valid.week", 604_800]];

export function AskDialog({ device, to, onClose }: { device: PageDevice; to: string; onClose: () => void }) {
  const { t, locale } = useWords(device_words);
  const [kind, set_kind] = useState<AskKind>();
  const step = useRef<HTMLDivElement>(null);
  const before = useRef(kind);
  useEffect(() => {
    // The element that had the focus is gone with its step.
    if (before.current !== kind) step.current?.querySelector<HTMLElement>("select, button")?.focus();
    before.current = kind;
  }, [kind]);
  return (
    <Dialog title={t("ask_something")} onClose={onClose}>
      <div class="stack" ref={step}>
        {kind === undefined ? (
          <>
            <p>{t("ask_what")}</p>
            <div class="kinds">{KINDS.map((one) => <Button key={one} icon={KIND_ICONS[one]} onClick={() => set_kind(one)}>{t(`kind.${one}`)}</Button>)}</div>
          </>
        ) : (
          <Details device={device} to={to} kind={kind} locale={locale} onBack={() => set_kind(undefined)} onClose={onClose} />
        )}
      </div>
    </Dialog>
  );
}

function Details({ device, to, kind, locale, onBack, onClose }: { device: PageDevice; to: string; kind: AskKind; locale: string; onBack: () => void; onClose: () => void }) {
  const { t } = useWords(device_words);
  const peers = in_order(device.peers(), locale);
  const [whom, set_whom] = useState(to !== "" ? to : (peers[0]?.id ?? ""));
  const manners = MANNERS[kind] ?? ["picked"];
  const [which, set_which] = useState<AskRequest["which"]>(manners[0] ?? "picked");
  const [name, set_name] = useState("");
  const [seconds, set_seconds] = useState("10");
  const [reason, set_reason] = useState("");
  const [digest, set_digest] = useState(false);
  const [valid, set_valid] = useState("3600");
  const [failed, set_failed] = useState(false);
  const timed = which === "live" && (kind === "video" || kind === "audio");
  const length = Math.round(Number(seconds));
  const wrong = {
    name: which === "named" && name.trim() === "",
    seconds: timed && !(length >= 1 && length <= 600),
    reason: new TextEncoder().encode(reason).length > REASON_MOST,
  };
  const ready = whom !== "" && !wrong.name && !wrong.seconds && !wrong.reason;
  const ask = async () => {
    set_failed(false);
    const request: AskRequest = { kind, which, digest: digest && FILES.includes(kind), valid_s: Number(valid), ...(which === "named" ? { name: name.trim() } : {}), ...(which === "live" ? { seconds: timed ? length : 0 } : {}), ...(reason.trim() === "" ? {} : { reason: reason.trim() }) };
    try {
      await device.ask(whom, request);
      onClose();
    } catch {
      set_failed(true);
    }
  };
  if (peers.length === 0) return <Notice tone="info" title={t("no_devices")} />;
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) void ask();
      }}
    >
      <p class="wanted"><Icon name={KIND_ICONS[kind]} /> <strong>{t(`kind.${kind}`)}</strong></p>
      <Select label={t("whom")} value={whom} onValue={set_whom} of={peers.map((peer) => [peer.id, `${display_name(called(peer))}${peer.online ? "" : ` (${t("away")})`}`])} />
      {manners.length > 1 && <Select label={t("manner")} value={which} onValue={(to) => set_which(to as AskRequest["which"])} of={manners.map((one) => [one, one === "named" ? t("which.pattern") : t(`which.${one}`)])} />}
      {which === "named" && <Field label={t("pattern")} hint={t("pattern_hint")} value={name} onValue={set_name} maxLength={255} />}
      {timed && <Field label={t("seconds")} type="number" value={seconds} onValue={set_seconds} error={wrong.seconds ? t("seconds_wrong") : undefined} />}
      <Field label={t("reason")} value={reason} onValue={set_reason} error={wrong.reason ? t("reason_long") : undefined} />
      {FILES.includes(kind) && <Check label={t("only_digest")} shown={t("only_digest")} on={digest} onChange={set_digest} />}
      <Select label={t("valid")} value={valid} onValue={set_valid} of={VALID.map(([word, s]) => [String(s), t(word as "valid.hour" | "valid.day" | "valid.week")])} />
      {failed && <Notice tone="bad">{t("not_asked")}</Notice>}
      <div class="cluster">
        <Button kind="primary" type="submit" icon="send" off={!ready}>{t("ask")}</Button>
        <Button icon="back" onClick={onBack}>{t("other_kind")}</Button>
      </div>
    </form>
  );
}

function Select({ label, value, of, onValue }: { label: string; value: string; of: readonly (readonly [string, string])[]; onValue: (value: string) => void }) {
  return (
    <label class="field">
      <span class="label">{label}</span>
      <select class="select" value={value} onChange={(event) => onValue(event.currentTarget.value)}>
        {of.map(([code, words]) => <option key={code} value={code}>{words}</option>)}
      </select>
    </label>
  );
}
