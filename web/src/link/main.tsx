import { render } from "preact";
import { current_language } from "../i18n/index.ts";
import { load_core } from "../core/load.ts";
import { App } from "./app.tsx";
import { load_words } from "./words.ts";
import "../ui-kit/ui-kit.css";
import "./link.css";

// Before anything is painted: it takes longest.
if (location.hash.length > 1) load_core().catch(() => undefined); // Told where it is opened.

const root = document.getElementById("root");
void load_words(current_language()[0]).then(() => root && render(<App />, root));
