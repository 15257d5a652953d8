import { render } from "preact";
import { App } from "./app.tsx";
import "../ui-kit/ui-kit.css";
import "./link.css";

const root = document.getElementById("root");
if (root) render(<App />, root);
