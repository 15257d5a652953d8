/** The things that came: texts, files and shares, kept in this browser until they are deleted. */
import { useId, useState } from "preact/hooks";
import type { Arrived, PageDevice } from "../core/device-api.ts";
import { save_file } from "../give/files.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Confirm, Live, Name, Notice, copy_text, useFocusHeir } from "../ui-kit/components.tsx";
import { Icon, type IconName } from "../ui-kit/icons.tsx";
import { display_name, save_name } from "../ui-kit/names.ts";
import { Badge, Written, useLook } from "./parts.tsx";
import { go } from "./route.ts";
import { device_words } from "./words.ts";

const ICONS: Record<Arrived["kind"], IconName> = { text: "text", files: "file", share: "folder", unknown: "question" };
/** Time that something is looked at until it counts as read, ms. */
const READ_MS = 1_500;

export function Inbox({ device }: { device: PageDevice }) {
  const { t } = useWords(device_words);
  const all = device.inbox();
  return (
    <>
      {all.length === 0 && <p class="muted">{t("inbox_empty")}</p>}
      <ul class="cards">{all.map((one) => <Item key={one.id} device={device} one={one} />)}</ul>
      {all.length > 0 && <p class="small muted">{t("inbox_kept")}</p>}
    </>
  );
}

function Item({ device, one }: { device: PageDevice; one: Arrived }) {
  const { t, format } = useWords(device_words);
  const [said, say] = useState<"copied" | "not_copied" | "not_read" | "">("");
  const [deleting, set_deleting] = useState(false);
  const from_id = useId();
  useLook(() => {
    if (one.read) return;
    const timer = setTimeout(() => void device.mark_read(one.id), READ_MS);
    return () => clearTimeout(timer);
  }, [one.read, one.id]);
  const save = (index: number, name: string) => device.file(one.id, index).then((blob) => save_file(blob, save_name(name)), () => say("not_read"));
  const from = one.from_name.trim() === "" ? `…${one.from.slice(-8)}` : one.from_name;
  return (
    <li class="card padded stack item" ref={useFocusHeir()}>
      <div class="item-head">
        <Icon name={ICONS[one.kind]} />
        <h2 id={from_id}><Name text={from} /></h2>
        {!one.read && <Badge tone="info">{t("new")}</Badge>}
        <span class="small muted">{format.relative(one.received_ms)}</span>
      </div>
      {one.text !== undefined && <Written text={one.text} />}
      {one.kind === "unknown" && <p>{t("unknown")}</p>}
      {one.files && (
        <ul class="rows">
          {one.files.map((file, index) => (
            <li class="row" key={index}>
              <div class="row-main"><span class="row-text"><span class="row-title"><Name text={file.name} /></span><span class="row-detail">{format.size(file.bytes)}</span></span></div>
              <Button kind="quiet" icon="download" label={t("save_name", { name: display_name(file.name) })} onClick={() => void save(index, file.name)} />
            </li>
          ))}
        </ul>
      )}
      {one.share && <p><Name text={one.share.name} /> <span class="muted small">{t("files_size", { n: one.share.files, size: format.size(one.share.bytes) })}</span></p>}
      {said !== "" && said !== "copied" && <Notice tone="warn">{t(said)}</Notice>}
      <div class="cluster">
        {one.share && <Button kind="primary" icon="folder" describedby={from_id} onClick={() => go("share", one.id)}>{t("open")}</Button>}
        {one.text !== undefined && <Button icon={said === "copied" ? "check" : "copy"} describedby={from_id} onClick={() => void copy_text(one.text ?? "").then((done) => say(done ? "copied" : "not_copied"))}>{said === "copied" ? t("copied") : t("copy")}</Button>}
        <Button kind="danger" icon="trash" describedby={from_id} onClick={() => set_deleting(true)}>{t("delete")}</Button>
      </div>
      <Live every={0} text={said === "copied" ? t("copied") : ""} />
      {deleting && (
        <Confirm
          title={t("delete_title")}
          action={t("delete")}
          danger
          onDo={() => {
            set_deleting(false);
            void device.delete(one.id);
          }}
          onClose={() => set_deleting(false)}
        >
          <p>{t("delete_body")}</p>
        </Confirm>
      )}
    </li>
  );
}
