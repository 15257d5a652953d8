/** Fetches here, fetches of others from here, and what the user's other devices have to fetch. */
import { useState } from "preact/hooks";
import { Button, ButtonLink, Live as Aloud, Name, Notice, Progress, Spinner } from "../../ui-kit/index.ts";
import { call } from "../api.ts";
import { act, fits, useDesk, useSay } from "../desk.tsx";
import { FetchDialog, name_of, ticket_of, useStream, type FetchStart } from "../flows.tsx";
import { useLists } from "../live.ts";
import { Badge, Card, Cards, Empty, Facts, ListProblems, Mono, ProblemText, Said, Section, Waiting, type Tone } from "../parts.tsx";
import { address } from "../route.ts";
import { SpanMapView } from "../spanmap.tsx";
import type { Giving, Listed, Phase, Transfer, View } from "../types.ts";

const TONES: Partial<Record<Phase, Tone>> = { done: "good", following: "good", failed: "bad", offered: "warn", waiting: "warn", paused: "plain" };
const RUNNING: readonly Phase[] = ["reading", "connecting", "comparing", "fetching", "writing", "waiting", "following"];

/** Seconds until all is here at the rate of now. */
function remaining(one: Transfer): number | undefined {
  return one.phase === "fetching" && one.rate > 0 && one.total > one.bytes ? (one.total - one.bytes) / one.rate : undefined;
}

function TransferWords({ one, left }: { one: Transfer; left: number | undefined }) {
  const { t, format } = useSay();
  const parts = [
    one.total > 0 ? t("of", { part: format.size(one.bytes), whole: format.size(one.total) }) : undefined,
    one.rate > 0 && one.phase === "fetching" ? format.rate(one.rate) : undefined,
    left !== undefined ? t("left", { time: format.duration(left) }) : undefined,
    one.devices > 0 && one.phase === "fetching" ? t("from_devices", { n: one.devices }) : undefined,
    one.ended ? format.relative(one.ended * 1000) : undefined,
  ];
  return <>{parts.filter((part) => part !== undefined).join(" · ")}</>;
}

function TransferActions({ one, onOffer }: { one: Transfer; onOffer: (start: FetchStart) => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const at = `transfers/${one.transfer}`;
  const name = one.name || one.transfer;
  const running = RUNNING.includes(one.phase);
  const over = one.phase === "done";
  const cancel = async () => {
    const yes = over || await desk.ask({ title: t("transfer.cancel_title"), body: <p>{t("transfer.cancel_body", { name })}</p>, action: t("transfer.cancel"), danger: true });
    if (yes) await act(desk, () => call("DELETE", at), over ? t("transfer.forgotten", { name }) : t("transfer.cancelled", { name }), { reads: ["transfers"] });
    if (yes && location.hash === address("transfers", one.transfer)) desk.go("transfers");
  };
  return (
    <>
      {one.phase === "offered" && <Button kind="primary" onClick={() => onOffer({ transfer: one.transfer })}>{t("transfer.offer")}</Button>}
      {running && <Button icon="pause" onClick={() => void act(desk, () => call("POST", `${at}/pause`), t("transfer.paused", { name }), { reads: ["transfers"], undo: () => call("POST", `${at}/resume`) })}>{t("pause")}</Button>}
      {(one.phase === "paused" || one.phase === "failed") && <Button kind="primary" icon="play" onClick={() => void act(desk, () => call("POST", `${at}/resume`), t("transfer.resumed", { name }), { reads: ["transfers"], undo: () => call("POST", `${at}/pause`) })}>{t("resume")}</Button>}
      <Button kind={over ? "plain" : "danger"} icon={over ? "close" : "stop"} onClick={() => void cancel()}>{over ? t("transfer.forget") : t("transfer.cancel")}</Button>
    </>
  );
}

function Fetching({ one, onOffer }: { one: Transfer; onOffer: (start: FetchStart) => void }) {
  const { t } = useSay();
  const over = one.phase === "done" || one.phase === "failed" || one.phase === "following";
  return (
    <Card
      icon="download"
      id={one.transfer}
      title={<a href={address("transfers", one.transfer)}><Name text={one.name || one.transfer} /></a>}
      badges={<Badge tone={TONES[one.phase] ?? "info"}>{t(`phase.${one.phase}`)}</Badge>}
      actions={
        <>
          <TransferActions one={one} onOffer={onOffer} />
          <ButtonLink href={address("transfers", one.transfer)} icon="search">{t("transfer.look")}</ButtonLink>
        </>
      }
    >
      {one.path !== "" && <div class="small"><Mono text={one.path} /></div>}
      {over ? <p class="small muted numeric"><TransferWords one={one} left={undefined} /></p> : (
        <Progress value={one.total > 0 ? one.bytes / one.total : undefined} label={t("transfer.progress", { name: one.name || one.transfer })} words={<TransferWords one={one} left={remaining(one)} />} />
      )}
      {one.reason && <p class="small"><Said text={one.reason} /></p>}
      {one.follow && <p class="small">{t(`follow.${one.follow.state}`)}{one.follow.conflicts > 0 && ` · ${t("follow.conflicts", { n: one.follow.conflicts })}`}</p>}
    </Card>
  );
}

function Given({ one }: { one: Giving }) {
  const { t, format } = useSay();
  const words = [
    one.total > 0 ? t("of", { part: format.size(one.bytes), whole: format.size(one.total) }) : undefined,
    one.rate > 0 ? format.rate(one.rate) : undefined,
    one.remaining !== undefined ? t("left", { time: format.duration(one.remaining) }) : undefined,
    t("giving.given", { size: format.size(one.given) }),
    one.times > 1 ? t("giving.times", { n: one.times }) : undefined,
    one.done ? format.relative(one.done * 1000) : undefined,
  ].filter((part) => part !== undefined).join(" · ");
  return (
    <Card
      icon="upload"
      title={<Name text={one.name || one.share.slice(0, 8)} />}
      badges={<Badge tone={one.complete ? "good" : one.open ? "info" : "plain"}>{one.complete ? t("giving.complete") : one.open ? t("giving.open") : t("giving.away")}</Badge>}
    >
      <p>{t("giving.to")} <Name text={one.device_name} /> <span class="muted small">{t(`kind.${one.kind}`)}</span></p>
      {one.complete ? <p class="small muted numeric">{words}</p> : <Progress value={one.total > 0 ? one.bytes / one.total : undefined} label={t("giving.progress", { name: one.name, device: one.device_name })} words={words} />}
    </Card>
  );
}

function Offered({ one, onFetch }: { one: Listed; onFetch: (start: FetchStart) => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const fetch_it = async () => {
    const ticket = await ticket_of(desk, one.device, one.name);
    if (ticket !== undefined) onFetch({ ticket, name: one.name });
  };
  return (
    <Card icon="folder" title={<Name text={one.name} />} badges={one.group ? <Badge>{one.group}</Badge> : undefined} actions={<Button icon="download" onClick={() => void fetch_it()}>{t("fetch")}</Button>}>
      <p class="small muted numeric"><Name text={one.device_name || one.device.slice(-8)} /> · {t("files", { n: one.files })}, {format.size(one.bytes)} · {format.relative(one.published * 1000)}</p>
    </Card>
  );
}

export function Transfers({ id }: { id: string }) {
  const desk = useDesk();
  const { t } = useSay();
  const { transfers, giving, catalogue } = useLists(desk.live, "transfers", "giving", "catalogue");
  const [start, set_start] = useState<{ start: FetchStart | undefined } | undefined>();
  const dialog = start && <FetchDialog start={start.start} onClose={() => set_start(undefined)} />;
  const offer = (of: FetchStart) => set_start({ start: of });
  if (id !== "") return <>{dialog}<Watched id={id} onOffer={offer} /></>;
  const shown = transfers?.filter((one) => fits(desk.query, one.name, one.path)).sort((a, b) => b.started - a.started);
  const given = giving?.filter((one) => fits(desk.query, one.name, one.device_name));
  const listed = catalogue?.filter((one) => fits(desk.query, one.name, one.device_name));
  return (
    <>
      {dialog}
      <ListProblems names={["transfers", "giving", "catalogue"]} />
      <Section id="fetching" title={t("transfers.here")} actions={<Button kind="primary" icon="plus" onClick={() => set_start({ start: undefined })}>{t("fetch.new")}</Button>}>
        {!shown ? <Waiting of="transfers" /> : shown.length === 0 ? <Empty>{t(desk.query ? "found_nothing" : "transfers.none")}</Empty> : <Cards>{shown.map((one) => <Fetching key={one.transfer} one={one} onOffer={offer} />)}</Cards>}
      </Section>
      <Section id="giving" title={t("transfers.giving")}>
        {given && given.length > 0 ? <Cards>{given.map((one) => <Given key={`${one.share} ${one.device}`} one={one} />)}</Cards> : <Empty>{t(desk.query ? "found_nothing" : "giving.none")}</Empty>}
      </Section>
      <Section id="catalogue" title={t("catalogue")}>
        {listed && listed.length > 0 ? <Cards>{listed.map((one) => <Offered key={one.share} one={one} onFetch={offer} />)}</Cards> : <Empty>{t(desk.query ? "found_nothing" : "catalogue.none")}</Empty>}
      </Section>
    </>
  );
}

/** One fetch, watched live: the map, the sources, what happened. */
function Watched({ id, onOffer }: { id: string; onOffer: (start: FetchStart) => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const { transfers, devices } = useLists(desk.live, "transfers", "devices");
  const { value, problem } = useStream<View>(`transfers/${encodeURIComponent(id)}/view?cells=1024`);
  const one = transfers?.find((other) => other.transfer === id) ?? value?.transfer;
  const back = <div><ButtonLink href={address("transfers")} icon="back">{t("transfer.back")}</ButtonLink></div>;
  if (!one) return <>{back}{problem ? <Notice tone="bad"><ProblemText problem={problem} /></Notice> : <Spinner label={t("loading")} />}</>;
  const words = <TransferWords one={one} left={value?.remaining ?? remaining(one)} />;
  const spoken = one.total > 0 ? `${t(`phase.${one.phase}`)}, ${format.percent(Math.floor((one.bytes / one.total) * 100) / 100)}` : t(`phase.${one.phase}`);
  return (
    <>
      {back}
      <section class="section" aria-labelledby="watched-heading">
        <div class="section-head">
          <h2 id="watched-heading"><Name text={one.name || one.transfer} /></h2>
          <Badge tone={TONES[one.phase] ?? "info"}>{t(`phase.${one.phase}`)}</Badge>
        </div>
        <Progress value={one.total > 0 ? one.bytes / one.total : undefined} label={t("transfer.progress", { name: one.name || one.transfer })} words={words} />
        <Aloud text={spoken} />
        {one.reason && <Notice tone={one.phase === "failed" ? "bad" : "info"} still><Said text={one.reason} /></Notice>}
        <div class="cluster"><TransferActions one={one} onOffer={onOffer} /></div>
        <Facts
          of={[
            one.path !== "" && [t("fetch.to"), <Mono text={one.path} />],
            [t("transfer.began"), format.time(one.started * 1000)],
            one.ended !== undefined && [t("transfer.ended"), format.time(one.ended * 1000)],
            one.follow && [t("follow"), t(`follow.${one.follow.state}`)],
            one.follow?.waiting_for !== undefined && [t("follow.waits_for"), <Name text={one.follow.waiting_for} />],
          ]}
        />
      </section>
      {value && (
        <Section id="map" title={t("map")}>
          <SpanMapView view={{ ...value, sources: value.sources.map((source) => ({ ...source, name: source.name || name_of(source.device, devices) })) }} />
        </Section>
      )}
      {(one.names?.renamed_total ?? 0) + (one.names?.skipped_total ?? 0) > 0 && (
        <Section id="names" title={t("names")}>
          <ul>
            {one.names?.renamed?.map((name) => <li key={name.path}><Mono text={name.path} /> → <Mono text={name.written} /></li>)}
            {one.names?.skipped?.map((path) => <li key={path}>{t("names.skipped")} <Mono text={path} /></li>)}
          </ul>
        </Section>
      )}
      {problem && problem.code !== "no_daemon" && <Notice tone="bad"><ProblemText problem={problem} /></Notice>}
    </>
  );
}
