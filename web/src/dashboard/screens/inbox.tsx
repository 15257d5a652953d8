/** Messages of other devices, and what waits to be sent. */
import { useState } from "preact/hooks";
import { Button, Dialog, Name, copy_text, display_name } from "../../ui-kit/index.ts";
import { Problem, call } from "../api.ts";
import { act, fits, useDesk, useSay } from "../desk.tsx";
import { FetchDialog, whole_message, type FetchStart } from "../flows.tsx";
import { useLists } from "../live.ts";
import { PathField, is_path } from "../paths.tsx";
import { InboxLinks } from "./inbox-links.tsx";
import { Badge, Card, Cards, Empty, ListProblems, Mono, Said, Section, Waiting, type Tone } from "../parts.tsx";
import type { Arrival, Message, Outgoing } from "../types.ts";

const ARRIVAL_TONES: Record<Arrival["state"], Tone> = { asked: "warn", arriving: "info", arrived: "good", by_hand: "plain" };
/** Longest text that a list has, bytes (the API's); a longer one is read when it is asked for. */
const IN_LISTS = 4096;

/** A text as it was written, line by line; what cannot be seen is shown. */
function Written({ text }: { text: string }) {
  return <div class="written" dir="auto">{text.split("\n").map((line, at) => <div key={at}>{display_name(line.replace(/\r$/, "").replaceAll("\t", "    ")) || " "}</div>)}</div>;
}

function SaveDialog({ message, onClose }: { message: Message; onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const { receive } = useLists(desk.live, "receive");
  const [folder, set_folder] = useState<string | undefined>();
  const into = folder ?? receive?.folder ?? "";
  const save = async () => {
    const done = await act(desk, () => call<{ paths: string[] }>("POST", `inbox/${message.id}/save`, { folder: into.trim() }), (saved) => t("inbox.saved", { paths: saved.paths.join(", ") }), { reads: ["inbox"] });
    if (done) onClose();
  };
  return (
    <Dialog
      title={t("inbox.save_title")}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" icon="download" off={!is_path(into)} onClick={() => void save()}>{t("inbox.save")}</Button>
        </>
      }
    >
      <PathField id="save-folders" label={t("fetch.folder")} hint={t("inbox.save_hint")} value={into} onValue={set_folder} error={into !== "" && !is_path(into) ? t("path_wrong") : undefined} />
    </Dialog>
  );
}

function MessageCard({ one, onSave, onFetch }: { one: Message; onSave: () => void; onFetch: (start: FetchStart) => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const [whole, set_whole] = useState<string | undefined>();
  const at = `inbox/${one.id}`;
  const text = whole ?? one.text;
  const decide = (decision: "accept" | "refuse" | "by_hand", done: string) => act(desk, () => call("POST", `${at}/decide`, { decision }), done, { reads: ["inbox", "transfers"] });
  const refuse = async () => {
    const yes = await desk.ask({ title: t("inbox.refuse_title"), body: <p>{t("inbox.refuse_body", { name: one.name })}</p>, action: t("decline"), danger: true });
    if (yes) await decide("refuse", t("inbox.refused"));
  };
  const remove = async () => {
    const yes = await desk.ask({ title: t("inbox.delete_title"), body: <p>{t("inbox.delete_body")}</p>, action: t("delete"), danger: true });
    if (yes) await act(desk, () => call("DELETE", at), t("inbox.deleted"), { reads: ["inbox", "status"] });
  };
  const read_whole = async () => {
    const message = await act(desk, () => whole_message(one.id), t("inbox.is_whole"));
    if (message?.text !== undefined) set_whole(message.text);
  };
  const copy = async () => {
    const full = text ?? (await whole_message(one.id)).text ?? "";
    desk.say((await copy_text(full)) ? { text: t("copied") } : { problem: new Problem("not_copied", t("not_copied")) });
  };
  const fetch_it = async () => {
    const message = await act(desk, () => whole_message(one.id), t("inbox.fetching"));
    if (message?.share) onFetch({ ticket: message.share.ticket, name: message.share.name });
  };
  const arrival = one.arrival;
  return (
    <Card
      icon={one.kind === "text" ? "text" : one.kind === "files" ? "file" : one.kind === "ticket" ? "folder" : "question"}
      id={String(one.id)}
      title={one.visitor ? (one.visitor.name === "" ? t("visitor.nameless") : <Name text={one.visitor.name} />) : <Name text={one.name || one.from.slice(-8)} />}
      badges={
        <>
          {one.visitor && <Badge>{t("visitor.by")} <Name text={one.visitor.link_name} /></Badge>}
          {!one.read && <Badge tone="info">{t("inbox.new")}</Badge>}
          {arrival && <Badge tone={ARRIVAL_TONES[arrival.state]}>{t(`arrival.${arrival.state}`)}</Badge>}
          <span class="small muted">{format.relative(one.received * 1000)}</span>
        </>
      }
      actions={
        <>
          {arrival?.state === "asked" && <Button kind="primary" onClick={() => void decide("accept", t("inbox.accepted"))}>{t("accept")}</Button>}
          {arrival?.state === "asked" && <Button onClick={() => void decide("by_hand", t("inbox.by_hand_said"))}>{t("inbox.by_hand")}</Button>}
          {arrival?.state === "asked" && <Button kind="danger" onClick={() => void refuse()}>{t("decline")}</Button>}
          {one.kind === "text" && <Button icon="copy" onClick={() => void copy()}>{t("copy")}</Button>}
          {one.kind === "files" && <Button icon="download" onClick={onSave}>{t("inbox.save")}</Button>}
          {one.kind === "ticket" && arrival?.state !== "arrived" && arrival?.state !== "arriving" && <Button icon="download" onClick={() => void fetch_it()}>{t("fetch")}</Button>}
          {!one.read && <Button icon="check" onClick={() => void act(desk, () => call("POST", `${at}/read`), t("inbox.read"), { reads: ["inbox", "status"] })}>{t("inbox.mark")}</Button>}
          <Button kind="danger" icon="trash" onClick={() => void remove()}>{t("delete")}</Button>
        </>
      }
    >
      {one.kind === "unknown" && <p>{t("inbox.unknown")}</p>}
      {text !== undefined && <Written text={text} />}
      {one.kind === "text" && text === undefined && (
        <div class="stack">
          <p class="muted">{t("inbox.long", { size: format.size(IN_LISTS) })}</p>
          <div><Button onClick={() => void read_whole()}>{t("inbox.whole")}</Button></div>
        </div>
      )}
      {one.files && one.files.length > 0 && <ul class="small">{one.files.map((file, index) => <li key={index}><Name text={file.name} /> <span class="muted">{format.size(file.bytes)}</span></li>)}</ul>}
      {one.share && <p><Name text={one.share.name} /> <span class="muted small">{t("files", { n: one.share.files })}, {format.size(one.share.bytes)}</span></p>}
      {arrival?.paths?.map((path) => <div key={path} class="small"><Mono text={path} /></div>)}
      {arrival?.reason && <p class="small"><Said text={arrival.reason} /></p>}
    </Card>
  );
}

function OutgoingCard({ one }: { one: Outgoing }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const take_back = async () => {
    const yes = await desk.ask({ title: t("outbox.back_title"), body: <p>{t("outbox.back_body")}</p>, action: t("outbox.back"), danger: true });
    if (yes) await act(desk, () => call("DELETE", `outbox/${one.id}`), t("outbox.taken_back"), { reads: ["outbox", "status"] });
  };
  return (
    <Card
      icon="send"
      title={<Name text={one.name || one.to.slice(-8)} />}
      badges={<><Badge tone={one.state === "failed" || one.state === "declined" ? "bad" : "warn"}>{t(`sent.${one.state}`)}</Badge><span class="small muted">{format.relative(one.made * 1000)}</span></>}
      actions={<Button kind="danger" onClick={() => void take_back()}>{t("outbox.back")}</Button>}
    >
      <p><Name text={one.summary} /></p>
      {one.reason && <p class="small"><Said text={one.reason} /></p>}
      {one.hint && <p class="small muted"><Said text={one.hint} /></p>}
    </Card>
  );
}

export function Inbox(_: { id: string }) {
  const desk = useDesk();
  const { t } = useSay();
  const { inbox, outbox } = useLists(desk.live, "inbox", "outbox");
  const [saving, set_saving] = useState<Message | undefined>();
  const [start, set_start] = useState<FetchStart | undefined>();
  const shown = inbox?.filter((one) => one.kind !== "request" && fits(desk.query, one.name, one.visitor?.name, one.visitor?.link_name, one.text, one.share?.name, ...(one.files ?? []).map((file) => file.name))).reverse();
  const unread = inbox?.filter((one) => !one.read) ?? [];
  const waiting = outbox?.filter((one) => one.kind !== "request" && fits(desk.query, one.name, one.summary));
  const mark_all = () => act(desk, () => Promise.all(unread.map((one) => call("POST", `inbox/${one.id}/read`))), t("inbox.read"), { reads: ["inbox", "status"] });
  return (
    <>
      {saving && <SaveDialog message={saving} onClose={() => set_saving(undefined)} />}
      {start && <FetchDialog start={start} onClose={() => set_start(undefined)} />}
      <ListProblems names={["inbox", "outbox"]} />
      <Section id="inbox" title={t("inbox.arrived")} actions={unread.length > 1 ? <Button icon="check" onClick={() => void mark_all()}>{t("inbox.mark_all")}</Button> : undefined}>
        {!shown ? <Waiting of="inbox" /> : shown.length === 0 ? <Empty>{t(desk.query ? "found_nothing" : "inbox.none")}</Empty> : (
          <Cards>{shown.map((one) => <MessageCard key={one.id} one={one} onSave={() => set_saving(one)} onFetch={set_start} />)}</Cards>
        )}
      </Section>
      {desk.query === "" && <InboxLinks />}
      <Section id="outbox" title={t("outbox")}>
        {waiting && waiting.length > 0 ? <Cards>{waiting.map((one) => <OutgoingCard key={one.id} one={one} />)}</Cards> : <Empty>{t("outbox.none")}</Empty>}
      </Section>
    </>
  );
}
