// Requests as lines for a shell.

// Linux takes no single argument of more than 128 KiB; printf is a builtin and takes any.
const LONGEST = 100_000;

/** A text as one word of a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The curl line that sends this. `secret` says that the server wants a key, which is not shown. */
export function curl(method, url, { body, secret } = {}) {
  const parts = [`curl ${method === "GET" || body ? "" : `-X ${method} `}${quoted(url)}`];
  if (secret) parts.push('-H "authorization: Bearer $ONELAYER_API_KEY"');
  if (body === undefined) return parts.join(" \\\n  ");
  parts.push("-H 'content-type: application/json'");
  if (new Blob([body]).size < LONGEST) return [...parts, `-d ${quoted(body)}`].join(" \\\n  ");
  return `printf %s ${quoted(body)} |\n  ${[...parts, "-d @-"].join(" \\\n  ")}`;
}

/** Copies an element's text; without https there is no clipboard but by selecting. */
export async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
  } catch {
    getSelection().selectAllChildren(element);
    document.execCommand("copy");
  }
}
