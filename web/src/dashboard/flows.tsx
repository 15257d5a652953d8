/** Dialogs that several screens open: a fetch with its offer, a new share, a ticket, something for a device. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Button, Check, CopyText, Dialog, Field, Live as Aloud, Name, Notice, Progress, Spinner } from "../ui-kit/index.ts";
import { Qr } from "../ui-kit/qr.tsx";
import { Problem, call, newest, work } from "./api.ts";
import { act, useDesk, useSay, type Desk } from "./desk.tsx";
import { useLists, useSeen } from "./live.ts";
import { PathField, is_path } from "./paths.tsx";
import { Choice, Facts, Mono, ProblemText, Radios } from "./parts.tsx";
import type { Device, Existing, Message, Offer, Sent, Told, Transfer } from "./types.ts";

/** The name of a device, else its short id. */
export function called(device: { name: string; short?: string; device: string }): string {
  return device.name || device.short || device.device.slice(-8);
}

/** The device with this id as this page knows it; the end of the id where it does not. */
export function name_of(id: string, devices: readonly Device[] | undefined): string {
  const found = devices?.find((one) => one.device === id);
  return found ? called(found) : id.slice(-8);
}

// ---- A fetch

export type FetchStart = { ticket: string; name?: string } | { transfer: string };

/** Follows a fetch to its offer, which the user answers. Closing it leaves the fetch as it is: the offer waits. */
export function FetchDialog({ start, onClose }: { start: FetchStart | undefined; onClose: () => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const { receive, devices } = useLists(desk.live, "receive", "devices");
  const [ticket, set_ticket] = useState(start && "ticket" in start ? start.ticket : "");
  const [folder, set_folder] = useState<string | undefined>();
  const [follow, set_follow] = useState(false);
  const [existing, set_existing] = useState<Existing>("rename");
  const [offer, set_offer] = useState<Offer | undefined>();
  const [problem, set_problem] = useState<Problem | undefined>();
  const [busy, set_busy] = useState("");
  const hang_up = useRef(new AbortController());
  useEffect(() => () => hang_up.current.abort(), []);

  const until_offer = async (method: string, path: string, body?: unknown) => {
    set_busy(t("phase.connecting"));
    set_problem(undefined);
    try {
      const last = await work(method, path, body, (event) => {
        if (event.event === "progress") set_busy(t(`phase.${event["phase"] as Transfer["phase"]}`));
        if (event.event !== "offer") return false;
        if ((event as unknown as Offer).agreed) return true;
        set_offer(event as unknown as Offer);
        return true;
      }, hang_up.current.signal);
      void desk.live.read("transfers");
      if (last.event === "offer" && !(last as unknown as Offer).agreed) return;
      desk.say({ text: last.event === "done" && last["already"] === true ? t("fetch.already", { path: String(last["path"]) }) : t("fetch.goes_on") });
      onClose();
    } catch (error) {
      if (hang_up.current.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      set_problem(error);
      void desk.live.read("transfers");
    } finally {
      set_busy("");
    }
  };
  useEffect(() => {
    if (start && "transfer" in start) void until_offer("GET", `transfers/${start.transfer}/events`);
  }, []);

  const into = folder ?? receive?.folder ?? "";
  const begin = () => void until_offer("POST", "fetches", { ticket: ticket.trim(), folder: into.trim(), accept: false, follow });
  const answer = async (yes: boolean) => {
    if (!offer) return;
    const at = `transfers/${offer.transfer}`;
    const done = yes
      ? await act(desk, () => call("POST", `${at}/accept`, { head: offer.head, ...(offer.exists ? { existing } : {}) }), t("fetch.accepted", { name: offer.name }), { reads: ["transfers"] })
      : await act(desk, () => call("DELETE", at), t("fetch.declined", { name: offer.name }), { reads: ["transfers"] });
    if (done === undefined) return;
    onClose();
    if (yes) desk.go("transfers", offer.transfer);
  };

  const fresh = !(start && "transfer" in start);
  const foot = offer ? (
    <>
      <Button kind="danger" onClick={() => void answer(false)}>{t("decline")}</Button>
      <Button kind="primary" icon="download" onClick={() => void answer(true)}>{t("fetch.accept")}</Button>
    </>
  ) : (
    <>
      <Button onClick={onClose}>{busy ? t("fetch.later") : t("cancel")}</Button>
      {fresh && <Button kind="primary" icon="download" off={busy !== "" || ticket.trim() === "" || !is_path(into)} onClick={begin}>{t("fetch.begin")}</Button>}
    </>
  );
  return (
    <Dialog title={start && "name" in start && start.name ? <>{t("fetch.one")} <Name text={start.name} /></> : t("fetch.title")} onClose={onClose} foot={foot}>
      {offer ? (
        <>
          <p>{t("fetch.offer")}</p>
          <Facts
            of={[
              [t("name"), <Name text={offer.name} />],
              [t("contents"), `${t("files", { n: offer.files })}, ${format.size(offer.bytes)}`],
              [t("from"), <Name text={name_of(offer.owner, devices)} />],
              [t("fetch.to"), <Mono text={offer.path} />],
            ]}
          />
          {offer.exists && (
            <Notice tone="warn">
              <span>{t("fetch.exists", { taken: offer.exists.taken, of: offer.exists.of })}</span>
              <Radios
                legend={t("fetch.existing")}
                name="existing"
                value={existing}
                onValue={set_existing}
                of={[["rename", t("existing.rename")], ["skip", t("existing.skip")], ["overwrite", t("existing.overwrite")]]}
              />
            </Notice>
          )}
        </>
      ) : fresh ? (
        <>
          {!(start && "ticket" in start) && <Field label={t("ticket")} hint={t("fetch.ticket_hint")} value={ticket} onValue={set_ticket} lines={3} />}
          <PathField id="fetch-folders" label={t("fetch.folder")} hint={t("path_hint")} value={into} onValue={set_folder} error={into !== "" && !is_path(into) ? t("path_wrong") : undefined} />
          <Check label={t("fetch.follow")} shown={t("fetch.follow")} on={follow} onChange={set_follow} />
        </>
      ) : null}
      {busy !== "" && !offer && <Spinner label={busy} />}
      {problem && <Notice tone="bad"><ProblemText problem={problem} /></Notice>}
    </Dialog>
  );
}

/** The ticket of a share that another device of the user's shares, or a member of a group. */
export async function ticket_of(desk: Desk, owner: string, name: string): Promise<string | undefined> {
  try {
    return (await call<{ ticket: string }>("POST", "catalogue/find", { owner, name })).ticket;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    desk.say({ problem: error });
    return undefined;
  }
}

// ---- A share

/** The ticket of a share: a secret, shown when it was asked for, with a picture of it. */
export function TicketDialog({ name, ticket, link, sent, onClose }: { name: string; ticket: string; link?: string | undefined; sent?: readonly Sent[]; onClose: () => void }) {
  const { t } = useSay();
  return (
    <Dialog title={<>{t("ticket.of")} <Name text={name} /></>} onClose={onClose} foot={<Button kind="primary" onClick={onClose}>{t("close")}</Button>}>
      <Notice tone="warn" still>{t("ticket.secret")}</Notice>
      {link !== undefined && (
        <>
          <h3>{t("ticket.link")}</h3>
          <CopyText text={link} label={t("ticket.link")} />
        </>
      )}
      <h3>{t("ticket")}</h3>
      <CopyText text={ticket} label={t("ticket")} />
      <p class="small muted">{t("ticket.use")}</p>
      <div class="center"><Qr text={link ?? ticket} label={t("ticket.qr")} /></div>
      {sent?.map((one) => <SentLine key={one.to} sent={one} />)}
    </Dialog>
  );
}

function SentLine({ sent }: { sent: Sent }) {
  const { t } = useSay();
  return <p>{t("sent.to", { name: sent.name || sent.to.slice(-8), state: t(`sent.${sent.state}`) })}{sent.reason && ` ${sent.reason}`}</p>;
}

const KEEP: readonly (readonly [string, number])[] = [["keep.hour", 3600], ["keep.day", 86_400], ["keep.week", 604_800]];

/** Shares files and folders of this device by their paths. Closing it while they are read ends that. */
export function ShareDialog({ onClose, to = [] }: { onClose: () => void; to?: readonly string[] }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const { groups, devices } = useLists(desk.live, "groups", "devices");
  const [paths, set_paths] = useState([""]);
  const [name, set_name] = useState("");
  const [keep, set_keep] = useState("");
  const [group, set_group] = useState("");
  const [readers, set_readers] = useState<readonly string[]>(to);
  const [watch, set_watch] = useState(false);
  const [once, set_once] = useState(false);
  const [progress, set_progress] = useState<Told | undefined>();
  const [problem, set_problem] = useState<Problem | undefined>();
  const [done, set_done] = useState<Told | undefined>();
  const running = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => running.current?.abort(), []);

  const chosen = paths.map((path) => path.trim()).filter((path) => path !== "");
  const ready = chosen.length > 0 && chosen.every(is_path);
  const begin = async () => {
    running.current = new AbortController();
    set_problem(undefined);
    set_progress({ event: "progress", phase: "reading", bytes: 0, total: 0, files: 0 });
    const seconds = KEEP.find(([code]) => code === keep)?.[1];
    const request = {
      paths: chosen, watch, once,
      ...(name.trim() === "" ? {} : { name: name.trim() }),
      ...(seconds === undefined ? {} : { keep_seconds: seconds }),
      ...(group === "" ? {} : { group }),
      ...(readers.length === 0 ? {} : { to: readers }),
    };
    try {
      const last = await work("POST", "shares", request, (event) => {
        if (event.event === "progress") set_progress(event);
      }, running.current.signal);
      set_done(last);
      void desk.live.read("shares");
    } catch (error) {
      if (running.current.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      set_problem(error);
    } finally {
      running.current = undefined;
      set_progress(undefined);
    }
  };
  const stop = () => {
    running.current?.abort();
    set_progress(undefined);
    desk.say({ text: t("share.stopped") });
  };
  if (done) return <TicketDialog name={String(done["name"])} ticket={String(done["ticket"])} link={done["link"] as string | undefined} sent={(done["sent"] as Sent[] | undefined) ?? []} onClose={onClose} />;

  const total = Number(progress?.["total"] ?? 0);
  const words = progress && `${t("files", { n: Number(progress["files"] ?? 0) })}, ${format.size(Number(progress["bytes"] ?? 0))}`;
  const own = (devices ?? []).filter((one) => !one.this && one.relation !== "nearby" && one.relation !== "member");
  const foot = progress ? (
    <Button kind="danger" onClick={stop}>{t("share.stop")}</Button>
  ) : (
    <>
      <Button onClick={onClose}>{t("cancel")}</Button>
      <Button kind="primary" off={!ready} onClick={() => void begin()}>{t("share.begin")}</Button>
    </>
  );
  return (
    <Dialog title={t("share.new")} onClose={onClose} foot={foot}>
      {progress ? (
        <>
          <Progress value={total > 0 ? Number(progress["bytes"]) / total : undefined} label={t("phase.reading")} words={words} />
          <Aloud text={words ?? ""} />
        </>
      ) : (
        <>
          {paths.map((path, at) => (
            <PathField
              key={at}
              id={`share-paths-${at}`}
              label={t("share.path", { n: at + 1 })}
              hint={t("path_hint")}
              value={path}
              onValue={(value) => set_paths(paths.map((one, other) => (other === at ? value : one)))}
              error={path.trim() !== "" && !is_path(path) ? t("path_wrong") : undefined}
            />
          ))}
          <div><Button icon="plus" onClick={() => set_paths([...paths, ""])}>{t("share.more")}</Button></div>
          <details>
            <summary>{t("share.options")}</summary>
            <div class="stack">
              <Field label={t("share.name")} hint={t("share.name_hint")} value={name} onValue={set_name} />
              <Choice label={t("share.keep")} value={keep} onValue={set_keep} of={[["", t("keep.always")], ...KEEP.map(([code]) => [code, t(code as "keep.hour")] as const)]} />
              {(groups ?? []).some((one) => one.state === "member") && (
                <Choice label={t("share.group")} value={group} onValue={set_group} of={[["", t("share.no_group")], ...(groups ?? []).filter((one) => one.state === "member").map((one) => [one.group, one.name || one.group.slice(0, 8)] as const)]} />
              )}
              {own.length > 0 && (
                <fieldset class="radios">
                  <legend>{t("share.to")}</legend>
                  {own.map((one) => (
                    <Check key={one.device} label={called(one)} shown={<Name text={called(one)} />} on={readers.includes(one.device)} onChange={(on) => set_readers(on ? [...readers, one.device] : readers.filter((id) => id !== one.device))} />
                  ))}
                </fieldset>
              )}
              <Check label={t("share.watch")} shown={t("share.watch")} on={watch} onChange={set_watch} />
              <Check label={t("share.once")} shown={t("share.once")} on={once} onChange={set_once} />
            </div>
          </details>
        </>
      )}
      {problem && <Notice tone="bad"><ProblemText problem={problem} /></Notice>}
    </Dialog>
  );
}

// ---- Something for a device

/** Sends a text, or files by their paths. What is too large for a message can be shared with the device instead. */
export function SendDialog({ device, onClose }: { device: Device; onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [what, set_what] = useState<"text" | "files">("text");
  const [text, set_text] = useState("");
  const [paths, set_paths] = useState([""]);
  const [busy, set_busy] = useState(false);
  const [problem, set_problem] = useState<Problem | undefined>();
  const files = paths.map((path) => path.trim()).filter((path) => path !== "");
  const ready = what === "text" ? text.trim() !== "" : files.length > 0 && files.every(is_path);
  const send = async () => {
    set_busy(true);
    set_problem(undefined);
    try {
      const sent = await call<Sent>("POST", "messages", what === "text" ? { to: device.device, text } : { to: device.device, files });
      desk.say({ text: t("sent.to", { name: called(device), state: t(`sent.${sent.state}`) }) });
      void desk.live.read("outbox");
      onClose();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      set_problem(error);
    } finally {
      set_busy(false);
    }
  };
  const share = async () => {
    set_busy(true);
    set_problem(undefined);
    try {
      await work("POST", "shares", { paths: files, to: [device.device], offer: true }, () => {});
      desk.say({ text: t("send.shared", { name: called(device) }) });
      void desk.live.read("shares");
      onClose();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      set_problem(error);
    } finally {
      set_busy(false);
    }
  };
  return (
    <Dialog
      title={<>{t("send.to")} <Name text={called(device)} /></>}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" icon="send" off={!ready || busy} onClick={() => void send()}>{t("send")}</Button>
        </>
      }
    >
      <Radios legend={t("send.what")} name="send-what" value={what} onValue={set_what} of={[["text", t("send.text")], ["files", t("send.files")]]} />
      {what === "text" ? (
        <Field label={t("send.text_label")} value={text} onValue={set_text} lines={4} />
      ) : (
        <>
          {paths.map((path, at) => (
            <PathField
              key={at}
              id={`send-paths-${at}`}
              label={t("share.path", { n: at + 1 })}
              hint={t("path_hint")}
              value={path}
              onValue={(value) => set_paths(paths.map((one, other) => (other === at ? value : one)))}
              error={path.trim() !== "" && !is_path(path) ? t("path_wrong") : undefined}
            />
          ))}
          <div><Button icon="plus" onClick={() => set_paths([...paths, ""])}>{t("share.more")}</Button></div>
        </>
      )}
      {busy && <Spinner label={t("send.busy")} />}
      {problem && (
        <Notice tone="bad">
          <ProblemText problem={problem} />
          {problem.code === "too_long" && what === "files" && <div><Button onClick={() => void share()}>{t("send.share")}</Button></div>}
        </Notice>
      )}
    </Dialog>
  );
}

/** The whole message: a list has only short texts, and no tickets. */
export function whole_message(id: number): Promise<Message> {
  return call<Message>("GET", `inbox/${id}`);
}

/** Pause between two drawings of what is watched, ms. */
const LOOK_MS = 250;

/** A stream as somebody watches it; reconnects by itself, and rests while nobody looks. */
export function useStream<T>(path: string): { value: T | undefined; problem: Problem | undefined } {
  const [state, set_state] = useState<{ value: T | undefined; problem: Problem | undefined }>({ value: undefined, problem: undefined });
  const seen = useSeen();
  useEffect(() => set_state({ value: undefined, problem: undefined }), [path]);
  useEffect(() => {
    if (!seen) return undefined;
    const stop = new AbortController();
    const follow = async () => {
      while (!stop.signal.aborted) {
        try {
          await newest<T>(path, LOOK_MS, (value) => set_state({ value, problem: undefined }), stop.signal);
          if (!stop.signal.aborted) return; // It was forgotten: the last one stays.
        } catch (error) {
          if (stop.signal.aborted) return;
          if (!(error instanceof Problem)) throw error;
          set_state((before) => ({ ...before, problem: error }));
          if (error.code !== "no_daemon") return;
        }
        await new Promise((go) => setTimeout(go, 2000));
      }
    };
    void follow();
    return () => stop.abort();
  }, [path, seen]);
  return state;
}
