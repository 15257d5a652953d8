/** Ways to bring files: by choice, as a folder, with the camera, by dropping or pasting them. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { GivenFile } from "../core/device-api.ts";
import { useWords } from "../i18n/index.ts";
import { Button } from "../ui-kit/components.tsx";
import type { IconName } from "../ui-kit/icons.tsx";
import { of_input, of_transfer, picked } from "./files.ts";
import { give_words } from "./words.ts";

interface InputProps {
  icon: IconName;
  label: string;
  onFiles: (files: GivenFile[]) => void;
  kind?: "plain" | "primary";
  accept?: string;
  camera?: "user" | "environment";
  folder?: boolean;
  one?: boolean;
}

/** A button that opens the browser's own choice, or its camera. */
export function InputButton({ icon, label, onFiles, kind = "plain", accept, camera, folder, one }: InputProps) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        hidden
        type="file"
        multiple={!one && !camera}
        {...(accept === undefined ? {} : { accept })}
        {...(camera ? { capture: camera } : {})}
        {...(folder ? { webkitdirectory: true } : {})}
        onChange={(event) => {
          const files = of_input(event.currentTarget);
          event.currentTarget.value = ""; // The same file can be chosen again.
          if (files.length > 0) onFiles(files);
        }}
      />
      <Button kind={kind} icon={icon} onClick={() => input.current?.click()}>{label}</Button>
    </>
  );
}

/** The choice of files: by the picker that gives handles where there is one. */
export function FilesButton({ label, onFiles, kind = "primary" }: { label: string; onFiles: (files: GivenFile[]) => void; kind?: "plain" | "primary" }) {
  const input = useRef<HTMLInputElement>(null);
  const choose = async () => {
    const files = await picked();
    if (files === "none") input.current?.click();
    else if (files && files.length > 0) onFiles(files);
  };
  return (
    <>
      <input
        ref={input}
        hidden
        type="file"
        multiple
        onChange={(event) => {
          const files = of_input(event.currentTarget);
          event.currentTarget.value = "";
          if (files.length > 0) onFiles(files);
        }}
      />
      <Button kind={kind} icon="file" onClick={() => void choose()}>{label}</Button>
    </>
  );
}

/** True where a finger is what points: there the camera is at hand and folders are not. */
export function is_touch(): boolean {
  return matchMedia("(pointer: coarse)").matches;
}

/** A place to drop files on, with buttons for those who do not drop. */
export function Choose({ onFiles, children }: { onFiles: (files: GivenFile[]) => void; children?: ComponentChildren }) {
  const { t } = useWords(give_words);
  const [over, set_over] = useState(false);
  useEffect(() => {
    // A file that misses the place would be opened by the browser instead of this page.
    const keep = (event: DragEvent) => event.preventDefault();
    const paste = (event: ClipboardEvent) => {
      if (!event.clipboardData || event.clipboardData.files.length === 0) return;
      event.preventDefault();
      void of_transfer(event.clipboardData).then((files) => files.length > 0 && onFiles(files));
    };
    addEventListener("dragover", keep);
    addEventListener("drop", keep);
    addEventListener("paste", paste);
    return () => {
      removeEventListener("dragover", keep);
      removeEventListener("drop", keep);
      removeEventListener("paste", paste);
    };
  }, [onFiles]);
  return (
    <div
      class={over ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        set_over(true);
      }}
      onDragLeave={() => set_over(false)}
      onDrop={(event) => {
        event.preventDefault();
        set_over(false);
        if (event.dataTransfer) void of_transfer(event.dataTransfer).then((files) => files.length > 0 && onFiles(files));
      }}
    >
      <div class="cluster">
        <FilesButton label={t("choose_files")} onFiles={onFiles} />
        <InputButton icon="folder" label={t("choose_folder")} folder onFiles={onFiles} />
        <InputButton icon="camera" label={t("take_photo")} accept="image/*" camera="environment" onFiles={onFiles} />
        <InputButton icon="video" label={t("take_film")} accept="video/*" camera="environment" onFiles={onFiles} />
        {children}
      </div>
      {!is_touch() && <p class="small muted">{t("drop_here")}</p>}
    </div>
  );
}
