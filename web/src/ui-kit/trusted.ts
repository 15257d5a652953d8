/** Trusted Types: the pages' policy forbids script addresses that did not pass here. */

interface Policy {
  createScriptURL(url: string): unknown;
}

const OWN = /^\/(assets\/[a-z-]+-[0-9A-Z]+\.js|sw\.js)$/;

/** A script's address for `new Worker` and service workers: a file of this build on this origin, nothing else. */
export function script_url(url: string): string {
  if (!OWN.test(url)) throw new Error("not a script of this page");
  policy ??= (globalThis as { trustedTypes?: { createPolicy(name: string, rules: object): Policy } }).trustedTypes?.createPolicy("hither", {
    createScriptURL: (text: string) => {
      if (!OWN.test(text)) throw new Error("not a script of this page");
      return text;
    },
  });
  // Interfaces for TypeScript take a string; where there are Trusted Types the object stands for one.
  return policy ? (policy.createScriptURL(url) as string) : url;
}

let policy: Policy | undefined;
