/** The daemon's health: warnings, relays, links, and what hither doctor finds. */
import { useState } from "preact/hooks";
import { Button, CopyText, Dialog, Field, Icon, Name, Notice, Spinner } from "../../ui-kit/index.ts";
import { Qr } from "../../ui-kit/qr.tsx";
import { call } from "../api.ts";
import { act, fits, useDesk, useSay } from "../desk.tsx";
import { useLists } from "../live.ts";
import { Badge, Card, Cards, Empty, Facts, ListProblems, Mono, Said, Section, Waiting, type Tone } from "../parts.tsx";
import { Log } from "./log.tsx";
import type { Finding, Relay, Status } from "../types.ts";

const TONES: Record<Finding["level"], Tone> = { ok: "good", warning: "warn", problem: "bad" };
const RELAY_TONES: Record<Relay["state"], Tone> = { connected: "good", connecting: "info", waiting: "warn" };

function Findings({ of }: { of: readonly Finding[] }) {
  const { t } = useSay();
  const worst = (one: Finding) => ["problem", "warning", "ok"].indexOf(one.level);
  return (
    <ul class="unmarked findings">
      {[...of].sort((a, b) => worst(a) - worst(b)).map((one, at) => (
        <li key={at} class={`finding ${TONES[one.level]}`}>
          <Icon name={one.level === "ok" ? "check" : "warning"} />
          <div>
            <div class="cluster"><strong lang="en"><Name text={one.check} /></strong><Badge tone={TONES[one.level]}>{t(`finding.${one.level}`)}</Badge></div>
            <p><Said text={one.message} /></p>
            {one.hint !== "" && <p class="small muted"><Said text={one.hint} /></p>}
          </div>
        </li>
      ))}
    </ul>
  );
}

function RelayCard({ one, onInvite }: { one: Relay; onInvite: () => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const leave = async () => {
    const yes = await desk.ask({ title: t("relay.leave_title", { name: one.host }), body: <p>{t("relay.leave_body")}</p>, action: t("relay.leave"), danger: true });
    if (yes) await act(desk, () => call("DELETE", `relays/${encodeURIComponent(one.relay)}`), t("relay.left", { name: one.host }), { reads: ["relays", "status", "devices"] });
  };
  return (
    <Card
      icon="store"
      title={<Mono text={one.host} />}
      badges={<Badge tone={one.lasting ? "bad" : RELAY_TONES[one.state]}>{t(`relay.${one.state}`)}</Badge>}
      actions={
        <>
          <Button icon="plus" onClick={onInvite}>{t("relay.invite")}</Button>
          <Button kind="danger" onClick={() => void leave()}>{t("relay.leave")}</Button>
        </>
      }
    >
      <Facts
        of={[
          [t("relay.devices"), format.number(one.devices)],
          one.carrier !== undefined && [t("relay.carrier"), one.carrier.toUpperCase()],
          one.rtt_ms !== undefined && [t("rtt"), `${format.number(Math.round(one.rtt_ms * 10) / 10)} ms`],
          [t("relay.joined"), format.time(one.joined * 1000)],
        ]}
      />
      {one.reason && <p class="small"><Said text={one.reason} /></p>}
      {one.hint && <p class="small muted"><Said text={one.hint} /></p>}
      {one.retry_seconds !== undefined && <p class="small muted">{t("down.next", { n: one.retry_seconds })}</p>}
    </Card>
  );
}

function JoinDialog({ onClose }: { onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [url, set_url] = useState("");
  const join = async () => {
    const done = await act(desk, () => call<Relay>("POST", "relays", { url: url.trim() }), (relay) => t("relay.joined_", { name: relay.host }), { reads: ["relays", "status", "devices"] });
    if (done) onClose();
  };
  return (
    <Dialog
      title={t("relay.join_title")}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" off={!url.trim().startsWith("hither://")} onClick={() => void join()}>{t("relay.join")}</Button>
        </>
      }
    >
      <Field type="url" label={t("relay.url")} hint={t("relay.url_hint")} value={url} onValue={set_url} />
    </Dialog>
  );
}

function StatusFacts({ status }: { status: Status }) {
  const { t, format } = useSay();
  const battery = status.world.battery;
  return (
    <div class="card padded">
      <Facts
        of={[
          [t("status.version"), status.version],
          [t("status.name"), <Name text={status.name} />],
          [t("status.device"), <Mono text={status.device} />],
          [t("status.uptime"), format.duration(status.uptime)],
          [t("status.home"), <Mono text={status.home} />],
          status.udp_port !== undefined && [t("status.udp"), String(status.udp_port)],
          status.tcp_port !== undefined && [t("status.tcp"), String(status.tcp_port)],
          status.limits.upload !== undefined && [t("status.upload"), format.rate(status.limits.upload)],
          status.limits.download !== undefined && [t("status.download"), format.rate(status.limits.download)],
          status.world.metered !== undefined && [t("status.metered"), status.world.metered ? t("yes") : t("no")],
          battery && [t("status.battery"), format.percent(battery.percent / 100)],
        ]}
      />
    </div>
  );
}

export function Health(_: { id: string }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const { status, doctor, relays } = useLists(desk.live, "status", "doctor", "relays");
  const [joining, set_joining] = useState(false);
  const [invite, set_invite] = useState<{ url: string; uses: number; valid_seconds: number } | undefined>();
  const [checking, set_checking] = useState(false);
  const check = async () => {
    set_checking(true);
    await desk.live.read("doctor");
    set_checking(false);
    if (!desk.live.problems.doctor) desk.say({ text: t("doctor.done") });
  };
  const make_invite = async (relay: Relay) => {
    const made = await act(desk, () => call<{ url: string; uses: number; valid_seconds: number }>("POST", "relays/invite", { relay: relay.relay, uses: 1, valid_seconds: 86_400 }), t("relay.invited"));
    if (made) set_invite(made);
  };
  const acknowledge = () => act(desk, () => call("POST", "losses/acknowledge"), t("losses.seen"), { reads: ["status"] });
  const findings = doctor?.filter((one) => fits(desk.query, one.check, one.message));
  const warnings = status?.warnings.filter((one) => !status.losses?.includes(one)) ?? [];
  return (
    <>
      {joining && <JoinDialog onClose={() => set_joining(false)} />}
      {invite && (
        <Dialog title={t("relay.invite")} onClose={() => set_invite(undefined)}>
          <Notice tone="warn" still>{t("relay.invite_about", { time: format.duration(invite.valid_seconds) })}</Notice>
          <CopyText text={invite.url} label={t("relay.invite")} />
          <div class="center"><Qr text={invite.url} label={t("relay.invite_qr")} /></div>
        </Dialog>
      )}
      <ListProblems names={["status", "doctor", "relays"]} />
      {(status?.losses?.length ?? 0) > 0 && (
        <Notice tone="bad" title={t("losses")}>
          {status?.losses?.map((one) => <p key={one}><Said text={one} /></p>)}
          <div><Button onClick={() => void acknowledge()}>{t("losses.acknowledge")}</Button></div>
        </Notice>
      )}
      {warnings.map((one) => <Notice key={one} tone="warn" still><Said text={one} /></Notice>)}
      <Section id="doctor" title={t("doctor")} actions={<Button icon="refresh" off={checking} onClick={() => void check()}>{t("doctor.again")}</Button>}>
        {checking || (!findings && !desk.live.problems.doctor) ? <Spinner label={t("doctor.looks")} /> : !findings ? null : findings.length === 0 ? <Empty>{t("found_nothing")}</Empty> : <div class="card padded"><Findings of={findings} /></div>}
      </Section>
      <Section id="relays" title={t("relays")} actions={<Button icon="plus" onClick={() => set_joining(true)}>{t("relay.join_title")}</Button>}>
        {relays && relays.length > 0 ? (
          <Cards>{relays.map((one) => <RelayCard key={one.relay} one={one} onInvite={() => void make_invite(one)} />)}</Cards>
        ) : (
          <Empty>{t("relays.none")}</Empty>
        )}
      </Section>
      <Section id="links" title={t("links")}>
        {status && status.links.length > 0 ? (
          <Cards>
            {status.links.map((one) => (
              <Card key={`${one.device} ${one.carrier} ${one.address}`} icon="link" title={<Name text={one.name || one.device.slice(-8)} />} badges={<Badge>{one.carrier.toUpperCase()}</Badge>}>
                <p class="small muted"><Mono text={one.address} /> · {format.number(Math.round(one.rtt_ms * 10) / 10)} ms</p>
              </Card>
            ))}
          </Cards>
        ) : (
          <Empty>{t("links.none")}</Empty>
        )}
      </Section>
      <Section id="daemon" title={t("status")}>{status ? <StatusFacts status={status} /> : <Waiting of="status" />}</Section>
      <Log />
    </>
  );
}
