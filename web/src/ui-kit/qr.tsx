import { useEffect, useState } from "preact/hooks";
import type { encode } from "uqr";

/** Brings the library, checked: a module that was preloaded with its integrity is taken for the import as well. */
let library: Promise<{ encode: typeof encode }> | undefined;
function load_library(): Promise<{ encode: typeof encode }> {
  const preload = document.createElement("link");
  preload.rel = "modulepreload";
  preload.href = HITHER_QR.url;
  preload.integrity = HITHER_QR.integrity;
  document.head.append(preload);
  return import(HITHER_QR.url) as Promise<{ encode: typeof encode }>;
}

interface Code {
  size: number;
  path: string;
}

async function code_of(text: string): Promise<Code> {
  library ??= load_library();
  const { size, data } = (await library).encode(text, { ecc: "L", border: 4 });
  // One path of runs: a fraction of the elements that one square for each module takes.
  let path = "";
  data.forEach((row, y) => {
    for (let x = 0; x < row.length; x += 1) {
      if (!row[x]) continue;
      const start = x;
      while (row[x + 1]) x += 1;
      path += `M${start} ${y}h${x - start + 1}v1H${start}z`;
    }
  });
  return { size, path };
}

/** A QR code with its quiet zone, dark on light in both colour schemes, because many readers need it so. */
export function Qr({ text, label }: { text: string; label: string }) {
  const [code, set_code] = useState<Code>();
  useEffect(() => {
    let here = true;
    // Without the code the text beside it is still there.
    code_of(text).then((made) => here && set_code(made), () => (library = undefined));
    return () => {
      here = false;
    };
  }, [text]);
  if (!code) return null;
  return (
    <svg class="qr" viewBox={`0 0 ${code.size} ${code.size}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <rect width={code.size} height={code.size} fill="#fff" />
      <path d={code.path} fill="#000" />
    </svg>
  );
}
