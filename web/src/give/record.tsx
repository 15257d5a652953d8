/** A picture, a film or sound, made in the page; where the browser gives no camera, by its own. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { GivenFile } from "../core/device-api.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Dialog, Notice, Spinner } from "../ui-kit/components.tsx";
import { InputButton } from "./choose.tsx";
import { recorded } from "./files.ts";
import { give_words } from "./words.ts";

export type Recording = "photo" | "video" | "audio";

const ACCEPT: Record<Recording, string> = { photo: "image/*", video: "video/*", audio: "audio/*" };
/** Forms that a recorder may have, best first. */
const FORMS: Record<"video" | "audio", readonly string[]> = {
  video: ["video/mp4;codecs=avc1.42E01E,mp4a.40.2", "video/webm;codecs=vp9,opus", "video/webm", "video/mp4"],
  audio: ["audio/mp4", "audio/webm;codecs=opus", "audio/webm", "audio/ogg"],
};
/** Longest recording, seconds. */
const LONGEST_S = 600;

function can_record(kind: Recording): boolean {
  return navigator.mediaDevices !== undefined && (kind === "photo" || typeof MediaRecorder === "function");
}

function form_of(kind: "video" | "audio"): string {
  return FORMS[kind].find((form) => MediaRecorder.isTypeSupported(form)) ?? "";
}

/** The picture that a film shows now. */
async function still(video: HTMLVideoElement): Promise<Blob | null> {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

/** Opens camera or microphone while it is shown, and lets go of it. */
function useStream(kind: Recording, facing: "user" | "environment"): { stream: MediaStream | undefined; refused: boolean } {
  const [stream, set_stream] = useState<MediaStream>();
  const [refused, set_refused] = useState(false);
  useEffect(() => {
    let here = true;
    let opened: MediaStream | undefined;
    set_stream(undefined);
    const wanted = { audio: kind !== "photo", video: kind !== "audio" && { facingMode: facing, width: { ideal: 1920 }, height: { ideal: 1080 } } };
    navigator.mediaDevices.getUserMedia(wanted).then(
      (got) => {
        opened = got;
        if (here) set_stream(got);
        else stop(got);
      },
      () => here && set_refused(true),
    );
    return () => {
      here = false;
      if (opened) stop(opened);
    };
  }, [kind, facing]);
  return { stream, refused };
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

interface RecordProps {
  kind: Recording;
  onFile: (file: GivenFile) => void;
  onClose: () => void;
  /** Length that is asked for, seconds; it may be ended earlier. */
  seconds?: number;
}

export function RecordDialog(props: RecordProps) {
  const { t } = useWords(give_words);
  const [facing, set_facing] = useState<"user" | "environment">("environment");
  const able = can_record(props.kind);
  return (
    <Dialog title={t(`record.${props.kind}`)} onClose={props.onClose}>
      {able ? <Studio key={facing} {...props} facing={facing} onTurn={() => set_facing(facing === "user" ? "environment" : "user")} /> : <Fallback {...props} />}
    </Dialog>
  );
}

/** The browser's own camera, where the page gets none. */
function Fallback({ kind, onFile }: RecordProps) {
  const { t } = useWords(give_words);
  return (
    <>
      <Notice tone="info" title={t("no_camera_title")} still>{t("no_camera")}</Notice>
      <div><InputButton kind="primary" icon={kind === "audio" ? "audio" : "camera"} label={t(`native.${kind}`)} accept={ACCEPT[kind]} camera="environment" onFiles={([file]) => file && onFile(file)} /></div>
    </>
  );
}

function Studio(props: RecordProps & { facing: "user" | "environment"; onTurn: () => void }) {
  const { kind, facing } = props;
  const { t, format } = useWords(give_words);
  const { stream, refused } = useStream(kind, facing);
  const video = useRef<HTMLVideoElement>(null);
  const recorder = useRef<MediaRecorder | undefined>(undefined);
  const [made, set_made] = useState<GivenFile>();
  const [since, set_since] = useState<number>();
  const [, tick] = useState(0);
  const most = props.seconds && props.seconds > 0 ? Math.min(props.seconds, LONGEST_S) : LONGEST_S;

  useEffect(() => {
    if (video.current && stream) video.current.srcObject = stream;
  }, [stream, made]);
  useEffect(() => {
    if (since === undefined) return;
    const timer = setInterval(() => {
      tick((n) => n + 1);
      if (Date.now() - since >= most * 1000 && recorder.current?.state === "recording") recorder.current.stop();
    }, 250);
    return () => clearInterval(timer);
  }, [since, most]);
  useEffect(() => () => {
    if (recorder.current?.state === "recording") recorder.current.stop();
  }, []);

  const photo = async () => {
    const blob = video.current && (await still(video.current));
    if (blob) set_made(recorded(blob, "photo"));
  };
  const begin = (as: "video" | "audio") => {
    if (!stream) return;
    const form = form_of(as);
    const one = new MediaRecorder(stream, form === "" ? {} : { mimeType: form });
    const parts: Blob[] = [];
    one.ondataavailable = ({ data }) => data.size > 0 && parts.push(data);
    one.onstop = () => {
      set_since(undefined);
      set_made(recorded(new Blob(parts, { type: one.mimeType || form }), as));
    };
    one.start(1_000);
    recorder.current = one;
    set_since(Date.now());
  };
  if (refused) return <Fallback {...props} />;
  if (made) return <Made kind={kind} made={made} onAgain={() => set_made(undefined)} onFile={props.onFile} />;
  if (!stream) return <Spinner label={t(kind === "audio" ? "opening_microphone" : "opening_camera")} />;
  const running = since !== undefined;
  return (
    <div class="stack studio">
      {kind !== "audio" && <video ref={video} autoplay muted playsInline aria-label={t("viewfinder")} />}
      {running && <p class="numeric recording" role="timer">{t("recording_for", { time: format.duration((Date.now() - since) / 1000), most: format.duration(most) })}</p>}
      <div class="cluster center">
        {kind === "photo" && <Button kind="primary" icon="camera" onClick={() => void photo()}>{t("shoot")}</Button>}
        {kind !== "photo" && !running && <Button kind="primary" icon={kind === "audio" ? "audio" : "video"} onClick={() => begin(kind)}>{t("begin")}</Button>}
        {running && <Button kind="danger" icon="stop" onClick={() => recorder.current?.stop()}>{t("end")}</Button>}
        {kind !== "audio" && !running && <Button icon="refresh" onClick={props.onTurn}>{t("other_camera")}</Button>}
      </div>
    </div>
  );
}

/** The recording, to be looked at before it leaves this browser. */
function Made({ kind, made, onAgain, onFile }: { kind: Recording; made: GivenFile; onAgain: () => void; onFile: (file: GivenFile) => void }) {
  const { t, format } = useWords(give_words);
  const [url, set_url] = useState<string>();
  useEffect(() => {
    const at = URL.createObjectURL(made.file);
    set_url(at);
    return () => URL.revokeObjectURL(at);
  }, [made]);
  return (
    <div class="stack studio">
      {url && kind === "photo" && <img src={url} alt={t("made.photo")} />}
      {url && kind === "video" && <video src={url} controls playsInline aria-label={t("made.video")} />}
      {url && kind === "audio" && <audio src={url} controls aria-label={t("made.audio")} />}
      <p class="small muted">{format.size(made.file.size)}</p>
      <div class="cluster center">
        <Button kind="primary" icon="check" onClick={() => onFile(made)}>{t("use")}</Button>
        <Button icon="refresh" onClick={onAgain}>{t("once_more")}</Button>
      </div>
    </div>
  );
}
