/** Constants that build.mjs puts in. */
declare const HITHER_WORKER_URL: string;
declare const HITHER_WASM_URL: string;
declare const HITHER_WASM_INTEGRITY: string;
declare const HITHER_DISK_URL: string;
declare const HITHER_QR: { url: string; integrity: string };
declare const HITHER_LINK_WORDS: Readonly<Record<string, { url: string; integrity: string }>>;
declare const HITHER_SHELL: readonly string[];
declare const HITHER_VERSION: string;

interface Window {
  showSaveFilePicker?: (options: { suggestedName?: string; id?: string; startIn?: string }) => Promise<FileSystemFileHandle>;
}
interface FileSystemFileHandle {
  queryPermission?(options: { mode: "readwrite" }): Promise<PermissionState>;
  requestPermission?(options: { mode: "readwrite" }): Promise<PermissionState>;
}
declare module "*.css";
