import { render } from "preact";
import { LanguageProvider, useLanguageChoice } from "../i18n/index.ts";
import "../ui-kit/ui-kit.css";
import { App } from "./app.tsx";
import "./lan.css";
import { Uploads } from "./uploads.ts";

const uploads = new Uploads();

function Root() {
  return (
    <LanguageProvider value={useLanguageChoice()}>
      <App uploads={uploads} />
    </LanguageProvider>
  );
}

// Uploads that are under way break off with the page: the browser asks first.
window.addEventListener("beforeunload", (event) => {
  if (uploads.busy) event.preventDefault();
});
const place = document.getElementById("app");
if (place) render(<Root />, place);
