/** Links by which people without a device send to this one: made, shown, ended. */
import { useState } from "preact/hooks";
import { Button, CopyText, Dialog, Field, Name, Notice } from "../../ui-kit/index.ts";
import { Qr } from "../../ui-kit/qr.tsx";
import { call } from "../api.ts";
import { act, useDesk, useSay } from "../desk.tsx";
import { useLists } from "../live.ts";
import { Badge, Card, Cards, Choice, Empty, Said, Section } from "../parts.tsx";
import type { InboxLink } from "../types.ts";

/** Longest name of a link, bytes. */
const NAME_MOST = 64;
const KEEPS = [["keep.hour", 3600], ["keep.day", 86_400], ["keep.week", 604_800], ["keep.month", 2_592_000]] as const;
const SIZES = [100e6, 1e9, 10e9, 100e9] as const;

export function InboxLinks() {
  const desk = useDesk();
  const { t } = useSay();
  const { "inbox/links": links } = useLists(desk.live, "inbox/links");
  const [making, set_making] = useState(false);
  const [shown, set_shown] = useState<InboxLink | undefined>();
  // A daemon from before there were such links has no such call.
  if (!links) return null;
  return (
    <Section id="inbox-links" title={t("visitor.links")} actions={<Button icon="plus" onClick={() => set_making(true)}>{t("visitor.make")}</Button>}>
      {making && (
        <LinkDialog
          onClose={(made) => {
            set_making(false);
            set_shown(made);
          }}
        />
      )}
      {shown && (
        <Dialog title={<Name text={shown.name} />} onClose={() => set_shown(undefined)}>
          <p>{t("visitor.about")}</p>
          <CopyText text={shown.link} label={t("visitor.link")} />
          <div class="center"><Qr text={shown.link} label={t("visitor.qr")} /></div>
          {shown.reason && <Notice tone="warn" still><Said text={shown.reason} /></Notice>}
        </Dialog>
      )}
      {links.length === 0 ? <Empty>{t("visitor.none")}</Empty> : <Cards>{links.map((one) => <LinkCard key={one.id} one={one} onShow={() => set_shown(one)} />)}</Cards>}
    </Section>
  );
}

function LinkCard({ one, onShow }: { one: InboxLink; onShow: () => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const over = one.left_seconds === 0;
  const end = async () => {
    const yes = await desk.ask({ title: t("visitor.end_title"), body: <p>{t("visitor.end_body")}</p>, action: t("visitor.end"), danger: true });
    if (yes) await act(desk, () => call("DELETE", `inbox/links/${one.id}`), t("visitor.ended"), { reads: ["inbox/links", "receive"] });
  };
  return (
    <Card
      icon="link"
      id={`link-${one.id}`}
      title={<Name text={one.name} />}
      badges={<>{over ? <Badge>{t("visitor.over")}</Badge> : <Badge tone="info">{t("left", { time: format.duration(one.left_seconds) })}</Badge>}{!over && !one.told && <Badge tone="warn">{t("visitor.untold")}</Badge>}</>}
      actions={over ? undefined : (
        <>
          <Button icon="link" onClick={onShow}>{t("visitor.show")}</Button>
          <Button kind="danger" icon="stop" onClick={() => void end()}>{t("visitor.end")}</Button>
        </>
      )}
    >
      <p class="small muted">{t("visitor.facts", { n: one.visitors, size: format.size(one.max), relay: one.relay })}</p>
      {one.reason && <p class="small"><Said text={one.reason} /></p>}
    </Card>
  );
}

function LinkDialog({ onClose }: { onClose: (made?: InboxLink) => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const [name, set_name] = useState("");
  const [keep, set_keep] = useState("604800");
  const [max, set_max] = useState(String(SIZES[2]));
  const long = new TextEncoder().encode(name.trim()).length > NAME_MOST;
  const make = async () => {
    const request = { keep_seconds: Number(keep), max: Number(max), ...(name.trim() === "" ? {} : { name: name.trim() }) };
    const made = await act(desk, () => call<InboxLink>("POST", "inbox/links", request), t("visitor.made"), { reads: ["inbox/links"] });
    if (made) onClose(made);
  };
  return (
    <Dialog
      title={t("visitor.make")}
      onClose={() => onClose()}
      foot={
        <>
          <Button onClick={() => onClose()}>{t("cancel")}</Button>
          <Button kind="primary" off={long} onClick={() => void make()}>{t("visitor.make_now")}</Button>
        </>
      }
    >
      <p>{t("visitor.about")}</p>
      <Field label={t("visitor.name")} hint={t("visitor.name_hint")} value={name} onValue={set_name} error={long ? t("visitor.name_long") : undefined} />
      <Choice label={t("visitor.keep")} value={keep} onValue={set_keep} of={KEEPS.map(([word, seconds]) => [String(seconds), t(word)] as const)} />
      <Choice label={t("visitor.max")} value={max} onValue={set_max} of={SIZES.map((size) => [String(size), format.size(size)] as const)} />
    </Dialog>
  );
}
