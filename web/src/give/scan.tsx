/** The camera reads a QR code, where the browser can. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useWords } from "../i18n/index.ts";
import { Dialog, Notice, Spinner } from "../ui-kit/components.tsx";
import { give_words } from "./words.ts";

/** Pause between looks, ms. */
const LOOK_MS = 200;

/** True where this browser reads QR codes and may have a camera. */
export async function can_scan(): Promise<boolean> {
  try {
    if (navigator.mediaDevices === undefined || !("BarcodeDetector" in globalThis)) return false;
    return (await BarcodeDetector.getSupportedFormats()).includes("qr_code");
  } catch {
    return false;
  }
}

export function useCanScan(): boolean {
  const [can, set_can] = useState(false);
  useEffect(() => void can_scan().then(set_can), []);
  return can;
}

/** `onText` gives true when it takes what a code says; else the camera looks on. */
export function ScanDialog({ onText, onClose }: { onText: (text: string) => boolean; onClose: () => void }) {
  const { t } = useWords(give_words);
  const video = useRef<HTMLVideoElement>(null);
  const [state, set_state] = useState<"opening" | "looking" | "refused">("opening");
  const [other, set_other] = useState(false);
  useEffect(() => {
    let here = true;
    let stream: MediaStream | undefined;
    const look = async () => {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (!here || !video.current) return;
      video.current.srcObject = stream;
      await video.current.play();
      set_state("looking");
      const detector = new BarcodeDetector({ formats: ["qr_code"] });
      while (here && video.current) {
        for (const { rawValue } of await detector.detect(video.current).catch(() => [])) {
          if (!here) return;
          if (onText(rawValue)) return;
          set_other(true);
        }
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    };
    look()
      .catch(() => here && set_state("refused"))
      .finally(() => !here && stream?.getTracks().forEach((track) => track.stop()));
    return () => {
      here = false;
      stream?.getTracks().forEach((track) => track.stop());
    };
  }, []);
  return (
    <Dialog title={t("scan")} onClose={onClose}>
      {state === "refused" ? <Notice tone="warn" title={t("no_camera_title")}>{t("scan_refused")}</Notice> : (
        <div class="studio">
          {state === "opening" && <Spinner label={t("opening_camera")} />}
          <video ref={video} muted playsInline aria-label={t("viewfinder")} />
          <p class="muted" role="status">{other ? t("scan_other") : t("scan_how")}</p>
        </div>
      )}
    </Dialog>
  );
}
