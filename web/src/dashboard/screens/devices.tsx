/** The user's devices, those that are known, members of groups, and who is on this network. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Button, CopyText, Dialog, Field, Name, Notice, Spinner } from "../../ui-kit/index.ts";
import { Qr } from "../../ui-kit/qr.tsx";
import { Problem, call, work } from "../api.ts";
import { act, fits, useDesk, useSay } from "../desk.tsx";
import { SendDialog, called } from "../flows.tsx";
import { useLists } from "../live.ts";
import { Badge, Card, Cards, Empty, Facts, ListProblems, Mono, ProblemText, Section, Waiting } from "../parts.tsx";
import type { Device, Introduction, Nearby, Removed, Told } from "../types.ts";

function Presence({ device }: { device: Device }) {
  const { t, format } = useSay();
  if (device.this) return <Badge tone="info">{t("device.this")}</Badge>;
  if (device.online) return <Badge tone="good">{t("device.online")}</Badge>;
  return <Badge>{device.last_seen === undefined ? t("device.never") : t("device.seen", { time: format.relative(device.last_seen * 1000) })}</Badge>;
}

function RenameDialog({ device, onClose }: { device: Device; onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [name, set_name] = useState(device.name);
  const rename = async () => {
    const before = device.calls_itself === undefined ? "" : device.name;
    const set = (to: string) => call("POST", "devices/rename", { device: device.device, name: to });
    const done = await act(desk, () => set(name.trim()), t("device.renamed", { name: name.trim() || (device.calls_itself ?? device.name) }), { reads: ["devices"], undo: () => set(before) });
    if (done !== undefined) onClose();
  };
  return (
    <Dialog
      title={<>{t("device.rename_title")} <Name text={called(device)} /></>}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" onClick={() => void rename()}>{t("device.rename")}</Button>
        </>
      }
    >
      <Field label={t("device.name_here")} hint={t("device.name_hint")} value={name} onValue={set_name} />
    </Dialog>
  );
}

function DeviceCard({ device, onSend, onRename }: { device: Device; onSend: () => void; onRename: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const name = called(device);
  const remove = async () => {
    const yes = await desk.ask({ title: t("device.remove_title", { name }), body: <><p>{t("device.remove_body")}</p><p>{t("device.words", { words: device.words })}</p></>, action: t("device.remove"), danger: true });
    if (yes) await act(desk, () => call<Removed>("POST", "devices/remove", { device: device.device }), (done) => (done.waiting?.length ? `${t("device.removed", { name })} ${done.waiting.join(" ")}` : t("device.removed", { name })), { reads: ["devices"] });
  };
  const forget = async () => {
    const yes = await desk.ask({ title: t("device.forget_title", { name }), body: <p>{t("device.forget_body")}</p>, action: t("device.forget"), danger: true });
    if (yes) await act(desk, () => call("POST", "devices/forget", { device: device.device }), t("device.forgotten", { name }), { reads: ["devices", "nearby"] });
  };
  return (
    <Card
      icon={device.web ? "phone" : "device"}
      id={device.device}
      title={<Name text={name} />}
      badges={<><Presence device={device} />{device.web && <Badge tone="info">{t("device.web")}</Badge>}{device.same_network && !device.this && <Badge>{t("device.here")}</Badge>}</>}
      actions={
        device.this ? undefined : (
          <>
            {device.relation !== "member" && <Button icon="send" onClick={onSend}>{t("send")}</Button>}
            {device.relation !== "nearby" && device.relation !== "member" && <Button icon="question" onClick={() => desk.go("asks", device.device)}>{t("device.ask")}</Button>}
            {device.relation !== "nearby" && <Button icon="edit" onClick={onRename}>{t("device.rename")}</Button>}
            {device.relation === "known" && <Button kind="danger" onClick={() => void forget()}>{t("device.forget")}</Button>}
            {device.relation === "own" && <Button kind="danger" onClick={() => void remove()}>{t("device.remove")}</Button>}
          </>
        )
      }
    >
      <Facts
        of={[
          device.words !== "" && [t("device.three_words"), device.words],
          [t("device.short"), <Mono text={device.short} />],
          device.calls_itself !== undefined && [t("device.calls_itself"), <Name text={device.calls_itself} />],
          (device.groups?.length ?? 0) > 0 && [t("groups"), <Name text={(device.groups ?? []).join(", ")} />],
          device.relays.length > 0 && [t("relays"), <Mono text={device.relays.join(", ")} />],
          device.addresses.length > 0 && [t("device.addresses"), <Mono text={device.addresses.join(", ")} />],
        ]}
      />
    </Card>
  );
}

function Stranger({ one }: { one: Introduction }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const name = one.name || one.short;
  const answer = async (accept: boolean) => {
    const yes = await desk.ask(
      accept
        ? { title: t("stranger.yes_title", { name }), body: <><p>{t("stranger.yes_body")}</p><p class="words">{one.words}</p></>, action: t("stranger.yes") }
        : { title: t("stranger.no_title", { name }), body: <p>{t("stranger.no_body")}</p>, action: t("stranger.no"), danger: true },
    );
    if (yes) await act(desk, () => call("POST", "nearby/answer", { device: one.device, accept }), accept ? t("stranger.let_in", { name }) : t("stranger.refused", { name }), { reads: ["nearby", "devices", "inbox"] });
  };
  return (
    <Card
      icon="phone"
      title={<Name text={name} />}
      badges={<Badge tone="warn">{t("stranger.waits")}</Badge>}
      actions={
        <>
          <Button kind="primary" onClick={() => void answer(true)}>{t("stranger.yes")}</Button>
          <Button kind="danger" onClick={() => void answer(false)}>{t("stranger.no")}</Button>
        </>
      }
    >
      {/* A stranger's own words are shown only after a yes: of a text or a request, not even how it begins. */}
      <p>{t(`stranger.${one.kind}`)}{(one.kind === "files" || one.kind === "share") && one.summary && <>: <Name text={one.summary} /></>}{one.bytes > 0 && <span class="muted"> ({one.files > 0 ? `${t("files", { n: one.files })}, ` : ""}{format.size(one.bytes)})</span>}</p>
      <Facts of={[[t("device.three_words"), one.words], [t("device.short"), <Mono text={one.short} />]]} />
      <p class="small muted">{t("stranger.compare")}</p>
    </Card>
  );
}

/** Shows and sets that everybody on this network sees this device, for ten minutes. */
function Visible({ nearby }: { nearby: Nearby }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const timed = nearby.left_seconds !== undefined;
  const set = (visible: boolean) => call("POST", "nearby", { visible });
  return (
    <div class="card padded stack">
      <p>{timed ? t("visible.timed", { time: format.duration(nearby.left_seconds ?? 0) }) : t(`visible.${nearby.visible}`)}</p>
      <p class="small muted">{t("visible.words", { words: nearby.words })}</p>
      <div>
        {timed ? (
          <Button onClick={() => void act(desk, () => set(false), t("visible.ended"), { reads: ["nearby"], undo: () => set(true) })}>{t("visible.end")}</Button>
        ) : nearby.visible !== "everybody" ? (
          <Button onClick={() => void act(desk, () => set(true), t("visible.begun"), { reads: ["nearby"], undo: () => set(false) })}>{t("visible.begin")}</Button>
        ) : null}
      </div>
    </div>
  );
}

/** Makes another device one of the user's: shows a code, or takes the one that it shows. */
function PairDialog({ onClose }: { onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [code, set_code] = useState("");
  const [shown, set_shown] = useState<Told | undefined>();
  const [met, set_met] = useState<Told | undefined>();
  const [busy, set_busy] = useState(false);
  const [problem, set_problem] = useState<Problem | undefined>();
  const running = useRef(new AbortController());
  useEffect(() => () => running.current.abort(), []);
  const run = async (path: string, body: unknown) => {
    set_busy(true);
    set_problem(undefined);
    try {
      const done = await work("POST", path, body, (event) => {
        if (event.event === "code") set_shown(event);
        if (event.event === "code_met") set_met(event);
      }, running.current.signal);
      desk.say({ text: t("pair.done", { name: String(done["name"]) }) });
      void desk.live.read("devices");
      onClose();
    } catch (error) {
      if (running.current.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      set_problem(error);
      set_shown(undefined);
      set_met(undefined);
    } finally {
      set_busy(false);
    }
  };
  const answer = (yes: boolean) => void act(desk, () => call("POST", `codes/${String(met?.["id"])}/answer`, { yes }), yes ? t("pair.yes_said") : t("pair.no_said"));
  return (
    <Dialog title={t("pair.title")} onClose={onClose}>
      {met ? (
        <>
          <p>{t("pair.met", { name: String(met["name"]) })}</p>
          <p class="words">{String(met["words"])}</p>
          <p>{t("pair.same_words")}</p>
          {Boolean(met["id"]) && (
            <div class="cluster">
              <Button kind="primary" onClick={() => answer(true)}>{t("pair.yes")}</Button>
              <Button kind="danger" onClick={() => answer(false)}>{t("pair.no")}</Button>
            </div>
          )}
        </>
      ) : shown ? (
        <>
          <p>{t("pair.say")}</p>
          <CopyText text={String(shown["code"])} label={t("pair.code")} />
          {typeof shown["scan"] === "string" && <div class="center"><Qr text={shown["scan"]} label={t("pair.qr")} /></div>}
          <Spinner label={t("pair.waits")} />
        </>
      ) : (
        <>
          <p>{t("pair.about")}</p>
          <div><Button kind="primary" off={busy} onClick={() => void run("codes", {})}>{t("pair.show")}</Button></div>
          <Field label={t("pair.enter")} hint={t("pair.enter_hint")} value={code} onValue={set_code} />
          <div><Button off={busy || code.trim() === ""} onClick={() => void run("codes/enter", { code: code.trim(), pair: true })}>{t("pair.go")}</Button></div>
          {busy && <Spinner label={t("pair.looks")} />}
        </>
      )}
      {problem && <Notice tone="bad"><ProblemText problem={problem} /></Notice>}
    </Dialog>
  );
}

const PARTS = ["own", "known", "nearby", "member"] as const;

export function Devices(_: { id: string }) {
  const desk = useDesk();
  const { t } = useSay();
  const { devices, nearby } = useLists(desk.live, "devices", "nearby");
  const [open, set_open] = useState<{ what: "send" | "rename"; device: Device } | { what: "pair" } | undefined>();
  const close = () => set_open(undefined);
  const shown = devices?.filter((one) => fits(desk.query, one.name, one.calls_itself, one.short, one.device, one.words, ...(one.groups ?? [])));
  return (
    <>
      {open?.what === "send" && <SendDialog device={open.device} onClose={close} />}
      {open?.what === "rename" && <RenameDialog device={open.device} onClose={close} />}
      {open?.what === "pair" && <PairDialog onClose={close} />}
      <ListProblems names={["devices", "nearby"]} />
      {nearby && nearby.introductions.length > 0 && (
        <Section id="strangers" title={t("strangers")}>
          <Cards>{nearby.introductions.map((one) => <Stranger key={one.device} one={one} />)}</Cards>
        </Section>
      )}
      {!shown ? <Waiting of="devices" /> : PARTS.map((part) => {
        const of = shown.filter((one) => one.relation === part);
        if (of.length === 0 && part !== "own") return null;
        return (
          <Section key={part} id={`devices-${part}`} title={t(`devices.${part}`)} actions={part === "own" ? <Button icon="plus" onClick={() => set_open({ what: "pair" })}>{t("pair.title")}</Button> : undefined}>
            {of.length === 0 ? <Empty>{t("found_nothing")}</Empty> : (
              <Cards>{of.map((device) => <DeviceCard key={device.device} device={device} onSend={() => set_open({ what: "send", device })} onRename={() => set_open({ what: "rename", device })} />)}</Cards>
            )}
          </Section>
        );
      })}
      {nearby && <Section id="visible" title={t("visible")}><Visible nearby={nearby} /></Section>}
    </>
  );
}
