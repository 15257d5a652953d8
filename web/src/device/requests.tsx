/** Requests that stand before the user of this page, and requests of this page. */
import { useEffect, useId, useState } from "preact/hooks";
import type { Asked, Asking, PageDevice, Thing } from "../core/device-api.ts";
import { AnswerForm, KIND_ICONS } from "../give/answer.tsx";
import { save_file } from "../give/files.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Confirm, Live, Name, Notice, Row, Spinner, copy_text, useFocusHeir } from "../ui-kit/components.tsx";
import { Icon } from "../ui-kit/icons.tsx";
import { display_name, save_name } from "../ui-kit/names.ts";
import { AskDialog, MANNERS } from "./ask.tsx";
import { Badge, Written, useBlobUrl, useLook, useTick } from "./parts.tsx";
import { go } from "./route.ts";
import { device_words } from "./words.ts";

/** Pictures that a browser shows and in which nothing runs. */
const PICTURES = /^image\/(png|jpeg|gif|webp|avif)$/;
const TONES = { waiting: "plain", sent: "plain", seen: "info", answered: "good", refused: "bad", expired: "plain", cancelled: "plain" } as const;

export function Requests({ device, to }: { device: PageDevice; to: string }) {
  const { t } = useWords(device_words);
  const [asking, set_asking] = useState(to !== "");
  useTick(1_000);
  useEffect(() => set_asking(to !== ""), [to]);
  const asked = device.asked();
  const open = asked.filter((one) => one.state === "open");
  const past = asked.filter((one) => one.state !== "open");
  const own = device.asking();
  return (
    <>
      <div><Button kind={open.length === 0 ? "primary" : "plain"} icon="question" onClick={() => set_asking(true)}>{t("ask_something")}</Button></div>
      <Live every={0} text={open.length > 0 ? t("asked_notice", { n: open.length }) : ""} />
      {open.length > 0 && <ul class="cards">{open.map((one) => <AskedCard key={one.id} device={device} one={one} />)}</ul>}
      <section class="stack" aria-labelledby="own">
        <h2 id="own">{t("own_requests")}</h2>
        {own.length === 0 ? <p class="muted">{t("no_own_requests")}</p> : <ul class="cards">{own.map((one) => <AskingCard key={one.id} device={device} one={one} />)}</ul>}
      </section>
      {past.length > 0 && (
        <section class="stack" aria-labelledby="past">
          <h2 id="past">{t("past_requests")}</h2>
          <ul class="rows card">
            {past.map((one) => <PastRow key={one.id} device={device} one={one} />)}
          </ul>
        </section>
      )}
      {asking && (
        <AskDialog
          device={device}
          to={to}
          onClose={() => {
            set_asking(false);
            if (to !== "") go("requests");
          }}
        />
      )}
    </>
  );
}

/** A request that has ended. */
function PastRow({ device, one }: { device: PageDevice; one: Asked }) {
  const { t } = useWords(device_words);
  const kind = t(`kind.${one.kind}`);
  return (
    <Row
      rowRef={useFocusHeir()}
      icon={KIND_ICONS[one.kind]}
      title={kind}
      detail={<><Name text={one.from_name} /> · {t(`asked.${one.state as "answered" | "refused" | "expired" | "cancelled"}`)}</>}
      after={<Button kind="quiet" icon="close" label={t("clear_name", { name: `${kind}, ${display_name(one.from_name)}` })} onClick={() => void device.delete(one.id)} />}
    />
  );
}

/** Says in words in what manner something is asked for; a text has only one. */
function Wanted({ one, here }: { one: Asked | Asking; /** It is this page that is asked. */ here?: boolean }) {
  const { t, format } = useWords(device_words);
  const how = !MANNERS[one.kind] ? "" : one.which === "named" ? t("which.named", { name: display_name(one.name ?? "") }) : one.which === "live" && (one.seconds ?? 0) > 0 ? t("which.live_for", { time: format.duration(one.seconds ?? 0) }) : here && one.which === "picked" ? t("which.picked_here") : t(`which.${one.which}`);
  return <p class="wanted"><Icon name={KIND_ICONS[one.kind]} /> <strong>{t(`kind.${one.kind}`)}</strong> <span class="muted">{how}{one.digest ? ` · ${t("only_digest")}` : ""}</span></p>;
}

function Reason({ text, label }: { text: string | undefined; label: string }) {
  if (!text) return null;
  return (
    <div>
      <span class="small muted">{label}</span>
      <blockquote class="quote"><Name text={text} /></blockquote>
    </div>
  );
}

function AskedCard({ device, one }: { device: PageDevice; one: Asked }) {
  const { t, format } = useWords(device_words);
  const [busy, set_busy] = useState(false);
  const [failed, set_failed] = useState(false);
  useLook(() => device.seen(one.id), [one.id]);
  const act = (what: () => Promise<unknown>) => {
    set_busy(true);
    set_failed(false);
    what().catch(() => set_failed(true)).finally(() => set_busy(false));
  };
  const left = Math.max(0, (one.ends_ms - Date.now()) / 1000);
  return (
    <li class="card padded stack item asked" ref={useFocusHeir()}>
      <h2><Name text={one.from_name} /> {t("asks")}</h2>
      <Wanted one={one} here />
      <Reason text={one.reason} label={t("reason_of")} />
      <p class="small muted numeric">{t("time_left", { time: format.duration(left) })}</p>
      {failed && <Notice tone="bad">{t("not_answered")}</Notice>}
      <AnswerForm
        request={one}
        busy={busy}
        onFiles={(files) => act(() => device.answer(one.id, files))}
        onText={(text) => act(() => device.answer_text(one.id, text))}
        onRefuse={() => act(() => device.refuse(one.id))}
      />
    </li>
  );
}

function AskingCard({ device, one }: { device: PageDevice; one: Asking }) {
  const { t, format } = useWords(device_words);
  const [ending, set_ending] = useState(false);
  const to_id = useId();
  const waits = one.state === "waiting" || one.state === "sent" || one.state === "seen";
  return (
    <li class="card padded stack item" ref={useFocusHeir()}>
      <div class="item-head">
        <h3 id={to_id}><Name text={one.to_name} /></h3>
        <Badge tone={TONES[one.state]}>{t(`asking.${one.state}`)}</Badge>
        <span class="small muted">{format.relative(one.made_ms)}</span>
      </div>
      <Wanted one={one} />
      {waits && <Spinner label={t(`asking_long.${one.state as "waiting" | "sent" | "seen"}`)} />}
      {one.answer?.kind === "refused" && <Notice tone="warn" title={t(`refusal.${one.answer.refusal}`)} still>{one.answer.words !== "" && <Name text={one.answer.words} />}</Notice>}
      {one.answer?.kind === "text" && <TextAnswer text={one.answer.text} />}
      {one.answer?.kind === "things" && one.answer.things.map((thing, at) => <ThingView key={at} thing={thing} />)}
      {one.answer?.kind === "things" && one.answer.ticket !== undefined && <div><Button kind="primary" icon="folder" onClick={() => go("share", one.id)}>{t("open_answer")}</Button></div>}
      <div class="cluster">
        {waits && <Button kind="danger" describedby={to_id} onClick={() => set_ending(true)}>{t("take_back")}</Button>}
        {!waits && <Button icon="close" describedby={to_id} onClick={() => void device.delete(one.id)}>{t("clear")}</Button>}
      </div>
      {ending && (
        <Confirm
          title={t("take_back_title")}
          action={t("take_back")}
          danger
          onDo={() => {
            set_ending(false);
            void device.cancel(one.id);
          }}
          onClose={() => set_ending(false)}
        >
          <p>{t("take_back_body")}</p>
        </Confirm>
      )}
    </li>
  );
}

function TextAnswer({ text }: { text: string }) {
  const { t } = useWords(device_words);
  const [copied, set_copied] = useState(false);
  return (
    <>
      <Written text={text} />
      <div><Button icon={copied ? "check" : "copy"} onClick={() => void copy_text(text).then(set_copied)}>{copied ? t("copied") : t("copy")}</Button></div>
    </>
  );
}

function ThingView({ thing }: { thing: Thing }) {
  const { t, format } = useWords(device_words);
  const picture = thing.content && PICTURES.test(thing.media_type) ? thing.content : thing.thumbnail;
  const url = useBlobUrl(picture);
  const [broken, set_broken] = useState(false);
  const name = display_name(thing.name);
  return (
    <figure class="thing">
      {url && !broken && <img src={url} alt={name} onError={() => set_broken(true)} />}
      <figcaption><Name text={thing.name} /> <span class="muted small">{format.size(thing.bytes)}{thing.made_ms ? ` · ${format.time(thing.made_ms)}` : ""}</span></figcaption>
      {thing.content && <div><Button icon="download" label={t("save_name", { name })} onClick={() => thing.content && save_file(thing.content, save_name(thing.name))}>{t("save")}</Button></div>}
    </figure>
  );
}
