/** Requests of other devices, requests of this one, and the devices that are answered without the user. */
import { useEffect, useState } from "preact/hooks";
import { Button, Check, Dialog, Field, Name, Notice, Spinner } from "../../ui-kit/index.ts";
import { Problem, call } from "../api.ts";
import { act, fits, useDesk, useSay } from "../desk.tsx";
import { called } from "../flows.tsx";
import { useLists } from "../live.ts";
import { PathField, is_path } from "../paths.tsx";
import { Badge, Card, Cards, Choice, Empty, Facts, ListProblems, Mono, ProblemText, Radios, Said, Section, Waiting, type Tone } from "../parts.tsx";
import type { Ask, Candidate, Grant } from "../types.ts";

const KINDS = ["photo", "video", "audio", "file", "qr", "location", "playing", "clipboard", "place"] as const;
type Kind = (typeof KINDS)[number];
/** Kinds that files answer; the others are answered by a text. */
const FILES: readonly string[] = ["photo", "video", "audio", "file"];
/** Kinds that can be made for the asker. */
const LIVE: readonly string[] = ["photo", "video", "audio"];
const TONES: Record<string, Tone> = { waiting: "warn", answering: "info", answered: "good", refused: "bad", expired: "plain", cancelled: "plain" };

function is_kind(kind: string): kind is Kind {
  return KINDS.some((one) => one === kind);
}

function KindWords({ kind, what }: { kind: string; what: string }) {
  const { t, language } = useSay();
  // The daemon's own words say more, and are English.
  return language === "en" || !is_kind(kind) ? <Said text={what} /> : <span>{t(`ask.${kind}`)}</span>;
}

function AnswerDialog({ ask, onClose }: { ask: Ask; onClose: () => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const files = FILES.includes(ask.kind);
  const [how, set_how] = useState<"found" | "chosen" | "text">("found");
  const [candidates, set_candidates] = useState<readonly Candidate[] | undefined>();
  const [problem, set_problem] = useState<Problem | undefined>();
  const [chosen, set_chosen] = useState<readonly string[]>([]);
  const [path, set_path] = useState("");
  const [text, set_text] = useState("");
  useEffect(() => {
    if (!files) return;
    call<Candidate[]>("GET", `asks/${ask.ask}/candidates`).then(set_candidates, (error: unknown) => {
      if (!(error instanceof Problem)) throw error;
      set_candidates([]);
      set_problem(error);
    });
  }, []);
  const paths = [...chosen, ...(is_path(path) ? [path.trim()] : [])];
  const ready = how === "found" || (how === "chosen" ? paths.length > 0 && (path.trim() === "" || is_path(path)) : text !== "");
  const answer = async () => {
    const body = how === "found" ? {} : how === "chosen" ? { files: paths } : { text };
    const done = await act(desk, () => call<{ words: string }>("POST", `asks/${ask.ask}/answer`, body), (answered) => `${t("ask.answered_to", { name: ask.name })} ${answered.words ?? ""}`.trim(), { reads: ["asks"] });
    if (done) onClose();
  };
  return (
    <Dialog
      title={<>{t("ask.answer_title")} <Name text={ask.name} /></>}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" icon="send" off={!ready} onClick={() => void answer()}>{t("ask.answer")}</Button>
        </>
      }
    >
      <p><KindWords kind={ask.kind} what={ask.what} />{ask.reason && <>: “<Name text={ask.reason} />”</>}</p>
      <Radios
        legend={t("ask.with")}
        name="answer-with"
        value={how}
        onValue={set_how}
        of={[["found", t("ask.found")], ...(files ? [["chosen", t("ask.chosen")] as const] : [["text", t("ask.text")] as const])]}
      />
      {how === "chosen" && (
        <>
          {candidates === undefined ? <Spinner label={t("loading")} /> : candidates.map((one) => (
            <Check
              key={one.path}
              label={one.path}
              shown={<><Mono text={one.path} /> <span class="muted small">{format.size(one.bytes)} · {format.relative(one.made * 1000)}</span></>}
              on={chosen.includes(one.path)}
              onChange={(on) => set_chosen(on ? [...chosen, one.path] : chosen.filter((other) => other !== one.path))}
            />
          ))}
          <PathField id="answer-paths" label={t("ask.path")} hint={t("path_hint")} value={path} onValue={set_path} error={path.trim() !== "" && !is_path(path) ? t("path_wrong") : undefined} />
        </>
      )}
      {how === "text" && <Field label={t("ask.text_label")} value={text} onValue={set_text} lines={3} />}
      {problem && how === "chosen" && <Notice tone="info"><ProblemText problem={problem} /></Notice>}
    </Dialog>
  );
}

function Received({ one, onAnswer, onAllow }: { one: Ask; onAnswer: () => void; onAllow: () => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const open = one.state === "waiting";
  const refuse = async () => {
    const yes = await desk.ask({ title: t("ask.refuse_title"), body: <p>{t("ask.refuse_body", { name: one.name })}</p>, action: t("ask.refuse"), danger: true });
    if (yes) await act(desk, () => call("POST", `asks/${one.ask}/refuse`), t("ask.refused_to", { name: one.name }), { reads: ["asks"] });
  };
  return (
    <Card
      icon="question"
      id={one.ask}
      title={<Name text={one.name || one.device.slice(-8)} />}
      badges={<><Badge tone={TONES[one.state] ?? "plain"}>{is_state(one.state) ? t(`ask.state.${one.state}`) : one.state}</Badge>{one.by_grant && <Badge>{t("ask.by_grant")}</Badge>}<span class="small muted">{format.relative(one.made * 1000)}</span></>}
      actions={
        open ? (
          <>
            <Button kind="primary" icon="send" onClick={onAnswer}>{t("ask.answer_")}</Button>
            <Button onClick={onAllow}>{t("ask.allow_")}</Button>
            <Button kind="danger" onClick={() => void refuse()}>{t("ask.refuse")}</Button>
          </>
        ) : undefined
      }
    >
      <p>{t("ask.wants")} <KindWords kind={one.kind} what={one.what} /></p>
      {one.digest && <p class="small">{t("ask.digest")}</p>}
      {one.reason && <p>“<Name text={one.reason} />”</p>}
      {open && one.left_seconds !== undefined && <p class="small muted">{t("ask.left", { time: format.duration(one.left_seconds) })}</p>}
      {!open && one.words && <p class="small"><Said text={one.words} /></p>}
    </Card>
  );
}

const STATES = ["waiting", "answering", "answered", "refused", "expired", "cancelled", "sent", "delivered", "seen"] as const;
function is_state(state: string): state is (typeof STATES)[number] {
  return STATES.some((one) => one === state);
}

/** A picture of an answer, from its bytes in hexadecimal. */
function Thumbnail({ hex, name }: { hex: string; name: string }) {
  const [url, set_url] = useState("");
  useEffect(() => {
    const bytes = new Uint8Array(hex.length >> 1);
    for (let at = 0; at < bytes.length; at += 1) bytes[at] = Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16) || 0;
    const made = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    set_url(made);
    return () => URL.revokeObjectURL(made);
  }, [hex]);
  return url === "" ? null : <img class="thumbnail" src={url} alt={name} />;
}

function SentAsk({ one }: { one: Ask }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const open = ["sent", "delivered", "seen"].includes(one.state);
  const cancel = async () => {
    const yes = await desk.ask({ title: t("ask.cancel_title"), body: <p>{t("ask.cancel_body", { name: one.name })}</p>, action: t("ask.cancel"), danger: true });
    if (yes) await act(desk, () => call("DELETE", `asks/${one.ask}`), t("ask.cancelled_to", { name: one.name }), { reads: ["asks"] });
  };
  return (
    <Card
      icon="send"
      id={one.ask}
      title={<Name text={one.name || one.device.slice(-8)} />}
      badges={<><Badge tone={TONES[one.state] ?? "info"}>{is_state(one.state) ? t(`ask.state.${one.state}`) : one.state}</Badge><span class="small muted">{format.relative(one.made * 1000)}</span></>}
      actions={open ? <Button kind="danger" onClick={() => void cancel()}>{t("ask.cancel")}</Button> : undefined}
    >
      <p><KindWords kind={one.kind} what={one.what} /></p>
      {one.words && <p class="small"><Said text={one.words} /></p>}
      {one.text !== undefined && <div class="written" dir="auto"><Name text={one.text} /></div>}
      {one.things?.map((thing, at) => (
        <div key={at} class="cluster">
          {thing.thumbnail && <Thumbnail hex={thing.thumbnail} name={thing.name} />}
          <span><Name text={thing.name} /> <span class="muted small">{format.size(thing.bytes)}</span></span>
        </div>
      ))}
    </Card>
  );
}

function AllowDialog({ device, name, kind, onClose }: { device: string; name: string; kind: string; onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [which, set_which] = useState<string>(kind);
  const [long, set_long] = useState("3600");
  const [folder, set_folder] = useState("");
  const [live, set_live] = useState(false);
  const allow = async () => {
    const body = { device, live, ...(which === "" ? {} : { kind: which }), ...(long === "" ? {} : { seconds: Number(long) }), ...(folder.trim() === "" ? {} : { folder: folder.trim() }) };
    const done = await act(desk, () => call<Grant>("POST", "asks/grants", body), t("grant.made", { name }), { reads: ["asks/grants", "asks"], undo: (grant) => call("DELETE", `asks/grants/${grant.grant}`) });
    if (done) onClose();
  };
  return (
    <Dialog
      title={<>{t("grant.title")} <Name text={name} /></>}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" off={folder.trim() !== "" && !is_path(folder)} onClick={() => void allow()}>{t("grant.allow")}</Button>
        </>
      }
    >
      <p>{t("grant.about")}</p>
      <Choice label={t("grant.kind")} value={which} onValue={set_which} of={[["", t("grant.every")], ...KINDS.map((one) => [one as string, t(`ask.${one}`)] as const)]} />
      <Choice label={t("grant.long")} value={long} onValue={set_long} of={[["3600", t("keep.hour")], ["86400", t("keep.day")], ["604800", t("keep.week")], ["", t("grant.until_ended")]]} />
      {(which === "" || FILES.includes(which)) && <PathField id="grant-folders" label={t("grant.folder")} hint={t("grant.folder_hint")} value={folder} onValue={set_folder} error={folder.trim() !== "" && !is_path(folder) ? t("path_wrong") : undefined} />}
      {(which === "" || LIVE.includes(which)) && <Check label={t("grant.live")} shown={t("grant.live")} on={live} onChange={set_live} />}
    </Dialog>
  );
}

function AskDialog({ device, onClose }: { device: string; onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const { devices } = useLists(desk.live, "devices");
  const able = (devices ?? []).filter((one) => !one.this && (one.relation === "own" || one.relation === "known"));
  const [chosen, set_chosen] = useState(device);
  const [kind, set_kind] = useState<Kind>("photo");
  const [latest, set_latest] = useState(false);
  const [live, set_live] = useState(false);
  const [seconds, set_seconds] = useState("10");
  const [digest, set_digest] = useState(false);
  const [reason, set_reason] = useState("");
  const to = chosen || able[0]?.device || "";
  const ask = async () => {
    const body = { to, kind, digest, reason: reason.trim(), latest: latest && FILES.includes(kind), ...(live && LIVE.includes(kind) ? { live_seconds: kind === "photo" ? 0 : Math.max(1, Number(seconds) || 10) } : {}) };
    const done = await act(desk, () => call<Ask>("POST", "asks", body), (made) => t("ask.made", { name: made.name }), { reads: ["asks"], undo: (made) => call("DELETE", `asks/${made.ask}`) });
    if (done) onClose();
  };
  return (
    <Dialog
      title={t("ask.new")}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" icon="send" off={to === ""} onClick={() => void ask()}>{t("ask.ask")}</Button>
        </>
      }
    >
      {able.length === 0 ? <Empty>{t("ask.nobody")}</Empty> : (
        <>
          <Choice label={t("ask.whom")} value={to} onValue={set_chosen} of={able.map((one) => [one.device, called(one)] as const)} />
          <Choice label={t("ask.what")} value={kind} onValue={set_kind} of={KINDS.map((one) => [one, t(`ask.${one}`)] as const)} />
          {FILES.includes(kind) && <Check label={t("ask.latest")} shown={t("ask.latest")} on={latest} onChange={set_latest} />}
          {LIVE.includes(kind) && <Check label={t("ask.live")} shown={t("ask.live")} on={live} onChange={set_live} />}
          {live && (kind === "video" || kind === "audio") && <Field type="number" label={t("ask.seconds")} value={seconds} onValue={set_seconds} />}
          {FILES.includes(kind) && <Check label={t("ask.digest_only")} shown={t("ask.digest_only")} on={digest} onChange={set_digest} />}
          <Field label={t("ask.reason")} value={reason} onValue={set_reason} maxLength={200} />
        </>
      )}
    </Dialog>
  );
}

export function Asks({ id }: { id: string }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const { asks, "asks/grants": grants } = useLists(desk.live, "asks", "asks/grants");
  const [answering, set_answering] = useState<Ask | undefined>();
  const [allowing, set_allowing] = useState<Ask | undefined>();
  const [asking, set_asking] = useState(id !== "");
  const mine = (one: Ask) => fits(desk.query, one.name, one.what, one.reason);
  const received = asks?.received.filter(mine).reverse();
  const sent = asks?.sent.filter(mine).reverse();
  const open = received?.filter((one) => one.state === "waiting" || one.state === "answering") ?? [];
  const earlier = received?.filter((one) => !open.includes(one)) ?? [];
  const end = async (grant: Grant) => {
    const yes = await desk.ask({ title: t("grant.end_title"), body: <p>{t("grant.end_body", { name: grant.name })}</p>, action: t("grant.end"), danger: true });
    if (yes) await act(desk, () => call("DELETE", `asks/grants/${grant.grant}`), t("grant.ended"), { reads: ["asks/grants"] });
  };
  return (
    <>
      {answering && <AnswerDialog ask={answering} onClose={() => set_answering(undefined)} />}
      {allowing && <AllowDialog device={allowing.device} name={allowing.name} kind={allowing.kind} onClose={() => set_allowing(undefined)} />}
      {asking && (
        <AskDialog
          device={id}
          onClose={() => {
            set_asking(false);
            if (id !== "") desk.go("asks");
          }}
        />
      )}
      <ListProblems names={["asks", "asks/grants"]} />
      <Section id="received" title={t("asks.received")}>
        {!received ? <Waiting of="asks" /> : open.length === 0 ? <Empty>{t(desk.query ? "found_nothing" : "asks.none")}</Empty> : (
          <Cards>{open.map((one) => <Received key={one.ask} one={one} onAnswer={() => set_answering(one)} onAllow={() => set_allowing(one)} />)}</Cards>
        )}
        {earlier.length > 0 && (
          <details>
            <summary>{t("asks.earlier", { n: earlier.length })}</summary>
            <Cards>{earlier.map((one) => <Received key={one.ask} one={one} onAnswer={() => set_answering(one)} onAllow={() => set_allowing(one)} />)}</Cards>
          </details>
        )}
      </Section>
      <Section id="sent" title={t("asks.sent")} actions={<Button kind="primary" icon="plus" onClick={() => set_asking(true)}>{t("ask.new")}</Button>}>
        {sent && sent.length > 0 ? <Cards>{sent.map((one) => <SentAsk key={one.ask} one={one} />)}</Cards> : <Empty>{t("asks.sent_none")}</Empty>}
      </Section>
      <Section id="grants" title={t("grants")}>
        {grants && grants.length > 0 ? (
          <Cards>
            {grants.map((one) => (
              <Card key={one.grant} icon="check" title={<Name text={one.name || one.device.slice(-8)} />} actions={<Button kind="danger" onClick={() => void end(one)}>{t("grant.end")}</Button>}>
                <Facts
                  of={[
                    [t("grant.kind"), one.kind === undefined ? t("grant.every") : is_kind(one.kind) ? t(`ask.${one.kind}`) : one.kind],
                    one.folder !== undefined && [t("grant.folder"), <Mono text={one.folder} />],
                    [t("grant.long"), one.left_seconds === undefined ? t("grant.until_ended") : format.duration(one.left_seconds)],
                    one.live && [t("grant.live_short"), t("yes")],
                  ]}
                />
              </Card>
            ))}
          </Cards>
        ) : (
          <Empty>{t("grants.none")}</Empty>
        )}
      </Section>
    </>
  );
}
