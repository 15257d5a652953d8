/** Types of files that a browser can show by itself, by the end of the name: the daemon gives nothing else inline. */

export type Shows = "image" | "video" | "audio" | "text";

const ENDS: Readonly<Record<Shows, readonly string[]>> = {
  image: ["jpg", "jpeg", "png", "gif", "webp", "avif", "bmp"],
  video: ["mp4", "m4v", "webm", "mov"],
  audio: ["mp3", "m4a", "ogg", "oga", "opus", "wav", "flac"],
  text: ["txt", "md", "log", "csv", "json", "toml", "yaml", "yml"],
};

export function shows(name: string): Shows | undefined {
  const dot = name.lastIndexOf(".");
  const end = dot < 0 ? "" : name.slice(dot + 1).toLowerCase();
  return (Object.keys(ENDS) as Shows[]).find((kind) => ENDS[kind].includes(end));
}

/** The most of a text that is shown, bytes. */
export const MOST_TEXT = 256 << 10;

/** The beginning of a text file; `more` when that is not all of it. */
export async function read_text(url: string, size: number): Promise<{ text: string; more: boolean }> {
  if (size === 0) return { text: "", more: false };
  const answer = await fetch(url, { headers: { Range: `bytes=0-${Math.min(size, MOST_TEXT) - 1}` } });
  if (!answer.ok) throw new Error(String(answer.status));
  const bytes = new Uint8Array(await answer.arrayBuffer()).subarray(0, MOST_TEXT);
  return { text: new TextDecoder("utf-8").decode(bytes, { stream: size > bytes.length }), more: size > bytes.length };
}
