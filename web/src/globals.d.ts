/** Constants that build.mjs puts in. */
declare const HITHER_WORKER_URL: string;
declare const HITHER_WASM_URL: string;
declare const HITHER_WASM_INTEGRITY: string;
declare const HITHER_DISK_URL: string;
declare const HITHER_QR: { url: string; integrity: string };
declare const HITHER_DEVICE_WORKER_URL: string;
declare const HITHER_DEVICE_WASM_URL: string;
declare const HITHER_DEVICE_WASM_INTEGRITY: string;
declare const HITHER_LINK_WORDS: Readonly<Record<string, { url: string; integrity: string }>>;
declare const HITHER_GIVE_WORDS: Readonly<Record<string, { url: string; integrity: string }>>;
declare const HITHER_DEVICE_WORDS: Readonly<Record<string, { url: string; integrity: string }>>;
declare const HITHER_VISIT_WORDS: Readonly<Record<string, { url: string; integrity: string }>>;
declare const HITHER_SHELL: readonly string[];
declare const HITHER_LATER: readonly string[];
declare const HITHER_VERSION: string;

interface Window {
  showOpenFilePicker?: (options: { multiple?: boolean; id?: string }) => Promise<FileSystemFileHandle[]>;
  showSaveFilePicker?: (options: { suggestedName?: string; id?: string; startIn?: string }) => Promise<FileSystemFileHandle>;
}
interface FileSystemFileHandle {
  queryPermission?(options: { mode: "readwrite" }): Promise<PermissionState>;
  requestPermission?(options: { mode: "readwrite" }): Promise<PermissionState>;
}
interface DataTransferItem {
  getAsFileSystemHandle?(): Promise<FileSystemHandle | null>;
}
/** Reads codes from pictures; not every browser has one. */
declare class BarcodeDetector {
  constructor(options: { formats: string[] });
  static getSupportedFormats(): Promise<string[]>;
  detect(from: CanvasImageSource | Blob): Promise<{ rawValue: string }[]>;
}
declare module "*.css";
