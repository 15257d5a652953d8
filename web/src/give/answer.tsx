/** The answer to a request: what was chosen or made, or a text, looked at before it is given. */
import { useState } from "preact/hooks";
import type { AskKind, AskRequest, GivenFile } from "../core/device-api.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Confirm, Field, Name, Notice } from "../ui-kit/components.tsx";
import { Icon, type IconName } from "../ui-kit/icons.tsx";
import { display_name } from "../ui-kit/names.ts";
import { InputButton } from "./choose.tsx";
import { RecordDialog, type Recording } from "./record.tsx";
import { ScanDialog, useCanScan } from "./scan.tsx";
import { give_words } from "./words.ts";

export const KIND_ICONS: Record<AskKind, IconName> = {
  photo: "image", video: "video", audio: "audio", file: "file", qr: "camera", location: "info", playing: "play", clipboard: "copy", place: "text",
};
const ACCEPT: Partial<Record<AskKind, string>> = { photo: "image/*", video: "video/*", audio: "audio/*" };
const RECORDED: readonly AskKind[] = ["photo", "video", "audio"];
/** Kinds that a text answers. */
const TEXTS: readonly AskKind[] = ["qr", "location", "playing", "clipboard", "place"];
/** Most things that one answer holds. */
const MOST = 64;

export interface Answering {
  request: AskRequest & { multiple?: boolean };
  onFiles: (files: GivenFile[]) => void;
  /** Missing where a text is no answer. */
  onText?: (text: string) => void;
  onRefuse: () => void;
  /** Something is on its way: the buttons do nothing. */
  busy: boolean;
}

export function AnswerForm(props: Answering) {
  return TEXTS.includes(props.request.kind) && props.onText ? <TextAnswer {...props} onText={props.onText} /> : <FileAnswer {...props} />;
}

function FileAnswer({ request, onFiles, onRefuse, busy }: Answering) {
  const { t, format } = useWords(give_words);
  const [chosen, set_chosen] = useState<GivenFile[]>([]);
  const [recording, set_recording] = useState<Recording>();
  const [refusing, set_refusing] = useState(false);
  const accept = ACCEPT[request.kind];
  const many = request.multiple !== false;
  const add = (files: GivenFile[]) => {
    set_recording(undefined);
    set_chosen((before) => (many ? [...before, ...files].slice(0, MOST) : files.slice(0, 1)));
  };
  const kinds = RECORDED.includes(request.kind) ? [request.kind as Recording] : (["photo", "video", "audio"] as const);
  return (
    <div class="stack">
      <div class="cluster">
        <InputButton kind={chosen.length === 0 && request.which !== "live" ? "primary" : "plain"} icon={KIND_ICONS[request.kind]} label={t(`pick.${request.kind}`)} one={!many} onFiles={add} {...(accept === undefined ? {} : { accept })} />
        {kinds.map((kind) => (
          <Button key={kind} kind={chosen.length === 0 && request.which === "live" ? "primary" : "plain"} icon={kind === "photo" ? "camera" : kind} onClick={() => set_recording(kind)}>{t(`record.${kind}`)}</Button>
        ))}
      </div>
      {chosen.length > 0 && (
        <ul class="rows card" aria-label={t("chosen")}>
          {chosen.map(({ file }, at) => (
            <li class="row" key={at}>
              <div class="row-main">
                <Icon name="file" />
                <span class="row-text"><span class="row-title"><Name text={file.name} /></span><span class="row-detail">{format.size(file.size)}</span></span>
              </div>
              <Button kind="quiet" icon="close" label={t("leave_out", { name: display_name(file.name) })} onClick={() => set_chosen(chosen.filter((_, other) => other !== at))} />
            </li>
          ))}
        </ul>
      )}
      {request.digest && <p class="small muted">{t("digest_only")}</p>}
      <div class="cluster">
        {chosen.length > 0 && <Button kind="primary" icon="send" off={busy} onClick={() => onFiles(chosen)}>{t("give", { n: chosen.length })}</Button>}
        <Button kind="danger" off={busy} onClick={() => set_refusing(true)}>{t("refuse")}</Button>
      </div>
      {recording && <RecordDialog kind={recording} onFile={(file) => add([file])} onClose={() => set_recording(undefined)} {...(request.seconds === undefined ? {} : { seconds: request.seconds })} />}
      {refusing && <Refusing onRefuse={onRefuse} onClose={() => set_refusing(false)} />}
    </div>
  );
}

function TextAnswer({ request, onText, onRefuse, busy }: Answering & { onText: (text: string) => void }) {
  const { t } = useWords(give_words);
  const [text, set_text] = useState("");
  const [problem, set_problem] = useState<"no_place" | "no_clipboard">();
  const [scanning, set_scanning] = useState(false);
  const [refusing, set_refusing] = useState(false);
  const can_scan = useCanScan();
  const locate = () =>
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => set_text(`geo:${coords.latitude.toFixed(6)},${coords.longitude.toFixed(6)};u=${Math.round(coords.accuracy)}`),
      () => set_problem("no_place"),
      { enableHighAccuracy: true, timeout: 30_000 },
    );
  const paste = () => navigator.clipboard.readText().then(set_text, () => set_problem("no_clipboard"));
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (text !== "" && !busy) onText(text);
      }}
    >
      <div class="cluster">
        {request.kind === "qr" && can_scan && <Button icon="camera" onClick={() => set_scanning(true)}>{t("scan")}</Button>}
        {request.kind === "location" && "geolocation" in navigator && <Button icon="info" onClick={locate}>{t("locate")}</Button>}
        {request.kind === "clipboard" && navigator.clipboard && <Button icon="copy" onClick={() => void paste()}>{t("paste")}</Button>}
      </div>
      {problem && <Notice tone="warn">{t(problem)}</Notice>}
      <Field label={t(`text.${request.kind as "qr" | "location" | "playing" | "clipboard" | "place"}`)} value={text} onValue={set_text} lines={3} />
      <div class="cluster">
        <Button kind="primary" icon="send" type="submit" off={text === "" || busy}>{t("give_text")}</Button>
        <Button kind="danger" off={busy} onClick={() => set_refusing(true)}>{t("refuse")}</Button>
      </div>
      {scanning && (
        <ScanDialog
          onText={(found) => {
            set_text(found);
            set_scanning(false);
            return true;
          }}
          onClose={() => set_scanning(false)}
        />
      )}
      {refusing && <Refusing onRefuse={onRefuse} onClose={() => set_refusing(false)} />}
    </form>
  );
}

function Refusing({ onRefuse, onClose }: { onRefuse: () => void; onClose: () => void }) {
  const { t } = useWords(give_words);
  return (
    <Confirm
      title={t("refuse_title")}
      action={t("refuse")}
      danger
      onDo={() => {
        onClose();
        onRefuse();
      }}
      onClose={onClose}
    >
      <p>{t("refuse_body")}</p>
    </Confirm>
  );
}
