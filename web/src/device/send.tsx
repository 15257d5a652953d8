/** Texts and files for one device, and what another app shared with this page. */
import { useEffect, useState } from "preact/hooks";
import type { GivenFile, PageDevice, Peer } from "../core/device-api.ts";
import { Choose } from "../give/choose.tsx";
import { Sendings } from "../give/sendings.tsx";
import { SendText } from "../give/text.tsx";
import { useWords } from "../i18n/index.ts";
import { Button, Name, Notice, Row, Spinner } from "../ui-kit/components.tsx";
import { called, in_order } from "./devices.tsx";
import { Marks, Written } from "./parts.tsx";
import { go } from "./route.ts";
import { forget_shared, shared } from "./shared.ts";
import { device_words } from "./words.ts";

/** Entries of the list that the screen of one device shows. */
function of_device(device: PageDevice, id: string) {
  return {
    sendings: () => device.sendings().filter((one) => one.to === id),
    pause: (one: string) => device.pause(one),
    resume: (one: string, files?: GivenFile[]) => device.resume(one, files),
    clear: (one: string) => device.clear(one),
  };
}

export function Send({ device, id }: { device: PageDevice; id: string }) {
  const { t } = useWords(device_words);
  const [failed, set_failed] = useState(false);
  const peer = device.peers().find((one) => one.id === id);
  if (!peer) return <Gone />;
  const send = (files: GivenFile[]) => {
    set_failed(false);
    device.send_files(id, files).catch(() => set_failed(true));
  };
  return (
    <>
      <div class="share-head">
        <div>
          <h2>{t("send_to")} <Name text={called(peer)} /></h2>
          <p class="cluster marks"><Marks peer={peer} /></p>
        </div>
        <div class="cluster">
          <Button icon="back" onClick={() => go("devices")}>{t("tab.devices")}</Button>
          <Button icon="question" onClick={() => go("requests", id)}>{t("ask")}</Button>
        </div>
      </div>
      {!peer.online && <p class="small muted">{t("kept_for_it")}</p>}
      {failed && <Notice tone="bad">{t("not_sent")}</Notice>}
      <Choose onFiles={send} />
      <SendText onSend={(text) => device.send_text(id, text)} />
      <Sendings sender={of_device(device, id)} />
    </>
  );
}

function Gone() {
  const { t } = useWords(device_words);
  return (
    <>
      <Notice tone="warn" title={t("peer_gone")} />
      <div><Button icon="back" onClick={() => go("devices")}>{t("tab.devices")}</Button></div>
    </>
  );
}

/** Sends what the system's menu gave to one device. */
export function Shared({ device }: { device: PageDevice }) {
  const { t, format, locale } = useWords(device_words);
  const [thing, set_thing] = useState<{ text: string; files: GivenFile[] } | "none">();
  const [failed, set_failed] = useState(false);
  useEffect(() => void shared().then((found) => set_thing(found ?? "none"), () => set_thing("none")), []);
  if (!thing) return <Spinner label={t("starting")} />;
  if (thing === "none") return <Notice tone="info" title={t("nothing_shared")} />;
  const send = async (peer: Peer) => {
    set_failed(false);
    try {
      if (thing.files.length > 0 && (await device.send_files(peer.id, thing.files)).state === "failed") return set_failed(true);
      if (thing.text !== "") await device.send_text(peer.id, thing.text);
      await forget_shared();
      go("send", peer.id);
    } catch {
      set_failed(true);
    }
  };
  const peers = in_order(device.peers(), locale);
  return (
    <>
      <h2>{t("send_what")}</h2>
      <div class="card padded stack">
        {thing.text !== "" && <Written text={thing.text} />}
        {thing.files.length > 0 && <ul class="small plain-list">{thing.files.map(({ file }, at) => <li key={at}><Name text={file.name} /> <span class="muted">{format.size(file.size)}</span></li>)}</ul>}
      </div>
      {failed && <Notice tone="bad">{t("not_sent")}</Notice>}
      <h2>{t("send_whom")}</h2>
      <ul class="rows card">{peers.map((peer) => <Row key={peer.id} icon={peer.web ? "phone" : "device"} title={<Name text={called(peer)} />} detail={<span class="cluster marks"><Marks peer={peer} /></span>} onOpen={() => void send(peer)} />)}</ul>
      <div>
        <Button
          kind="danger"
          onClick={() => {
            void forget_shared();
            go("devices");
          }}
        >
          {t("throw_away")}
        </Button>
      </div>
    </>
  );
}
