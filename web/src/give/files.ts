/** Files that the browser gives: chosen, dropped, pasted. Handles come with them where there are some, so that a reload goes on. */
import type { GivenFile } from "../core/device-api.ts";

/** Most files that are taken at once. */
export const MOST = 10_000;

/** The files of an `<input type="file">`; those of a folder have their way in it. */
export function of_input(input: HTMLInputElement): GivenFile[] {
  return [...(input.files ?? [])].slice(0, MOST).map((file) => (file.webkitRelativePath ? { file, path: file.webkitRelativePath } : { file }));
}

/** Asks for files by the picker that gives handles; undefined: nothing was chosen; "none": there is no such picker. */
export async function picked(): Promise<GivenFile[] | undefined | "none"> {
  if (!window.showOpenFilePicker) return "none";
  try {
    const handles = await window.showOpenFilePicker({ multiple: true, id: "hither-send" });
    return await Promise.all(handles.slice(0, MOST).map(async (handle) => ({ file: await handle.getFile(), handle })));
  } catch (problem) {
    return (problem as Error).name === "AbortError" ? undefined : "none";
  }
}

/** The files of a drop or of the clipboard, those in folders with their way. */
export async function of_transfer(data: DataTransfer): Promise<GivenFile[]> {
  // A drop can be asked only now: everything is begun before the first is waited for.
  const items = [...data.items].filter((item) => item.kind === "file");
  const begun = items.map((item) => ({
    entry: item.webkitGetAsEntry?.() ?? null,
    handle: item.getAsFileSystemHandle?.().catch(() => null) ?? null,
    file: item.getAsFile(),
  }));
  const found: GivenFile[] = [];
  for (const { entry, handle, file } of begun) {
    if (entry?.isDirectory) await walk(entry as FileSystemDirectoryEntry, found);
    else if (file) {
      const kept = await handle;
      found.push(kept?.kind === "file" ? { file, handle: kept as FileSystemFileHandle } : { file });
    }
    if (found.length >= MOST) break;
  }
  return found;
}

async function walk(top: FileSystemDirectoryEntry, found: GivenFile[]): Promise<void> {
  const waiting: FileSystemEntry[] = [top];
  for (let entry = waiting.shift(); entry && found.length < MOST; entry = waiting.shift()) {
    if (entry.isFile) {
      const path = entry.fullPath.replace(/^\//, "");
      const file = await new Promise<File | undefined>((done) => (entry as FileSystemFileEntry).file(done, () => done(undefined)));
      if (file) found.push({ file, path });
      continue;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      const part = await new Promise<FileSystemEntry[]>((done) => reader.readEntries(done, () => done([])));
      if (part.length === 0) break;
      waiting.push(...part);
    }
  }
}

/** A file of what was recorded, named by the time. */
export function recorded(blob: Blob, kind: "photo" | "video" | "audio"): GivenFile {
  const type = blob.type.split(";")[0] ?? "";
  const ending = { "image/jpeg": "jpg", "video/webm": "webm", "video/mp4": "mp4", "audio/webm": "weba", "audio/mp4": "m4a", "audio/ogg": "ogg" }[type] ?? "bin";
  const at = new Date();
  const two = (number: number) => String(number).padStart(2, "0");
  const time = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}.${two(at.getMinutes())}.${two(at.getSeconds())}`;
  return { file: new File([blob], `${kind} ${time}.${ending}`, { type, lastModified: at.getTime() }) };
}

/** Gives a file to the browser's downloads. */
export function save_file(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads it after this turn.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
