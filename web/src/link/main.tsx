import { render } from "preact";
import { current_language } from "../i18n/index.ts";
import { App } from "./app.tsx";
import { load_words } from "./words.ts";
import "../ui-kit/ui-kit.css";
import "./link.css";

const root = document.getElementById("root");
void load_words(current_language()[0]).then(() => root && render(<App />, root));
