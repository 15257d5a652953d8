/** The shares on this device: their state, their tickets, new ones, their end. */
import { useState } from "preact/hooks";
import { Button, Check, CopyText, Dialog, Name, Notice, Progress } from "../../ui-kit/index.ts";
import { Qr } from "../../ui-kit/qr.tsx";
import { call } from "../api.ts";
import { act, fits, look, useDesk, useSay } from "../desk.tsx";
import { ShareDialog, TicketDialog, name_of } from "../flows.tsx";
import { useLists } from "../live.ts";
import { Badge, Card, Cards, Choice, Empty, ListProblems, Mono, Said, Section, Waiting, type Tone } from "../parts.tsx";
import type { LeftOut, PageInfo, Share } from "../types.ts";

const UPLOAD_TONES: Record<string, Tone> = { uploaded: "good", uploading: "info", waiting: "warn", off: "plain" };

function Left({ title, of, total }: { title: string; of: readonly LeftOut[]; total: number }) {
  return (
    <details>
      <summary>{title}</summary>
      <ul class="small">
        {of.map((one) => <li key={one.path}><Mono text={one.path} />: <Said text={one.reason} /></li>)}
        {total > of.length && <li>… {total - of.length}</li>}
      </ul>
    </details>
  );
}

function ShareCard({ one, owner, onTicket }: { one: Share; owner: string; onTicket: () => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const end = async () => {
    const yes = await desk.ask({ title: t("share.end_title", { name: one.name }), body: <p>{t(one.mine ? "share.end_body" : "share.end_fetched")}</p>, action: t("share.end"), danger: true });
    if (yes) await act(desk, () => call("DELETE", `shares/${one.share}`), t("share.ended", { name: one.name }), { reads: ["shares"] });
  };
  return (
    <Card
      icon={one.files === 1 && one.chunks > 0 ? "file" : "folder"}
      id={one.share}
      title={<Name text={one.name} />}
      badges={
        <>
          {one.state !== "whole" && <Badge tone="bad">{t(`share.${one.state}`)}</Badge>}
          {one.upload && <Badge tone={UPLOAD_TONES[one.upload.state] ?? "plain"}>{t(`upload.${one.upload.state}`)}</Badge>}
          {one.watched && <Badge>{t("share.watched")}</Badge>}
          {one.once && <Badge>{t("share.once_badge")}</Badge>}
          {one.group && <Badge><Name text={one.group} /></Badge>}
        </>
      }
      actions={
        <>
          <Button icon="link" onClick={onTicket}>{t("ticket.show")}</Button>
          <Button kind="danger" icon="stop" onClick={() => void end()}>{t("share.end")}</Button>
        </>
      }
    >
      <div class="small"><Mono text={one.path} />{one.more_paths?.map((path) => <div key={path}><Mono text={path} /></div>)}</div>
      <p class="small muted numeric">
        {[t("files", { n: one.files }), format.size(one.bytes), t("share.version", { n: String(one.version) }), format.relative(one.published * 1000), one.expires !== undefined ? t("share.ends", { time: format.relative(one.expires * 1000) }) : undefined, one.held < one.chunks ? t("share.held", { part: format.percent(one.held / one.chunks) }) : undefined].filter((part) => part !== undefined).join(" · ")}
      </p>
      {!one.mine && <p class="small">{t("from")} <Name text={owner} /></p>}
      {one.upload && one.upload.state === "uploading" && <Progress value={one.upload.total > 0 ? one.upload.bytes / one.upload.total : undefined} label={t("upload.progress", { name: one.name })} words={t("of", { part: format.size(one.upload.bytes), whole: format.size(one.upload.total) })} />}
      {one.upload && one.upload.state === "waiting" && <p class="small"><Said text={one.upload.words} /></p>}
      {one.trouble && <Notice tone="warn" still><Said text={one.trouble} /></Notice>}
      {one.follow && <p class="small">{t(`follow.${one.follow.state}`)}{one.follow.conflicts > 0 && ` · ${t("follow.conflicts", { n: one.follow.conflicts })}`}</p>}
      {(one.left_out_total ?? 0) > 0 && <Left title={t("share.left_out", { n: one.left_out_total ?? 0 })} of={one.left_out ?? []} total={one.left_out_total ?? 0} />}
      {(one.unportable_total ?? 0) > 0 && <Left title={t("share.unportable", { n: one.unportable_total ?? 0 })} of={one.unportable ?? []} total={one.unportable_total ?? 0} />}
    </Card>
  );
}

/** Pages for browsers on this network, which need nothing installed. */
function Pages() {
  const desk = useDesk();
  const { t, format } = useSay();
  const { pages } = useLists(desk.live, "pages");
  const [opening, set_opening] = useState(false);
  const [shown, set_shown] = useState<PageInfo | undefined>();
  // A daemon from before there were pages has no such call.
  if (!pages) return null;
  const end = async (one: PageInfo) => {
    const yes = await desk.ask({ title: t("page.end_title"), body: <p>{t("page.end_body")}</p>, action: t("page.end"), danger: true });
    if (yes) await act(desk, () => call("DELETE", `pages/${one.page}`), t("page.ended"), { reads: ["pages"] });
  };
  return (
    <Section id="pages" title={t("pages")} actions={<Button icon="plus" onClick={() => set_opening(true)}>{t("page.open")}</Button>}>
      {opening && (
        <PageDialog
          onClose={(made) => {
            set_opening(false);
            set_shown(made);
          }}
        />
      )}
      {shown && (
        <Dialog title={t("page.title")} onClose={() => set_shown(undefined)}>
          <Notice tone="warn" still>{t("page.plain")}</Notice>
          {shown.urls.map((url) => <CopyText key={url} text={url} label={t("page.address")} />)}
          {shown.urls[0] !== undefined && <div class="center"><Qr text={shown.urls[0]} label={t("page.qr")} /></div>}
        </Dialog>
      )}
      {pages.length === 0 ? <Empty>{t("pages.none")}</Empty> : (
        <Cards>
          {pages.map((one) => (
            <Card
              key={one.page}
              icon="phone"
              id={one.page}
              title={t("page.title")}
              badges={<><Badge tone="info">{t("left", { time: format.duration(one.left_seconds) })}</Badge>{one.upload && <Badge>{t("page.takes")}</Badge>}</>}
              actions={
                <>
                  <Button icon="link" onClick={() => set_shown(one)}>{t("page.show")}</Button>
                  <Button kind="danger" icon="stop" onClick={() => void end(one)}>{t("page.end")}</Button>
                </>
              }
            >
              <p class="small">{one.shares.length === 0 ? t("page.no_shares") : <Name text={one.shares.join(", ")} />}</p>
              <p class="small muted">{t("page.received", { n: one.received })}</p>
            </Card>
          ))}
        </Cards>
      )}
    </Section>
  );
}

function PageDialog({ onClose }: { onClose: (made?: PageInfo) => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [keep, set_keep] = useState("3600");
  const [upload, set_upload] = useState(true);
  const open = async () => {
    const made = await act(desk, () => call<PageInfo>("POST", "pages", { keep_seconds: Number(keep), no_upload: !upload }), t("page.opened"), { reads: ["pages"] });
    if (made) onClose(made);
  };
  return (
    <Dialog
      title={t("page.open")}
      onClose={() => onClose()}
      foot={
        <>
          <Button onClick={() => onClose()}>{t("cancel")}</Button>
          <Button kind="primary" onClick={() => void open()}>{t("page.open_now")}</Button>
        </>
      }
    >
      <p>{t("page.about")}</p>
      <Notice tone="warn" still>{t("page.plain")}</Notice>
      <Choice label={t("page.keep")} value={keep} onValue={set_keep} of={[["3600", t("keep.hour")], ["86400", t("keep.day")], ["604800", t("keep.week")]]} />
      <Check label={t("page.upload")} shown={t("page.upload")} on={upload} onChange={set_upload} />
    </Dialog>
  );
}

export function Shares(_: { id: string }) {
  const desk = useDesk();
  const { t } = useSay();
  const { shares, devices } = useLists(desk.live, "shares", "devices");
  const [making, set_making] = useState(false);
  const [shown, set_shown] = useState<{ name: string; ticket: string; link?: string } | undefined>();
  const show = async (one: Share) => {
    const found = await look<{ ticket: string; link?: string }>(desk, `shares/${one.share}/ticket`);
    if (found) set_shown({ ...found, name: one.name });
  };
  const list = shares?.filter((one) => fits(desk.query, one.name, one.path, one.group));
  return (
    <>
      {making && <ShareDialog onClose={() => set_making(false)} />}
      {shown && <TicketDialog {...shown} onClose={() => set_shown(undefined)} />}
      <ListProblems names={["shares"]} />
      <Section id="shares" title={t("shares.here")} actions={<Button kind="primary" icon="plus" onClick={() => set_making(true)}>{t("share.new")}</Button>}>
        {!list ? <Waiting of="shares" /> : list.length === 0 ? <Empty>{t(desk.query ? "found_nothing" : "shares.none")}</Empty> : (
          <Cards>{list.map((one) => <ShareCard key={one.share} one={one} owner={name_of(one.owner, devices)} onTicket={() => void show(one)} />)}</Cards>
        )}
      </Section>
      {desk.query === "" && <Pages />}
    </>
  );
}
