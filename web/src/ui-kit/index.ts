export * from "./components.tsx";
export * from "./format.ts";
export * from "./icons.tsx";
export * from "./names.ts";
export * from "./trusted.ts";
