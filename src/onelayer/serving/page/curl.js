// Requests as shell commands.

// Bytes of a body up to which it is an argument of curl. Linux allows 128 KiB for one argument;
// longer bodies go through printf, a shell builtin without a limit.
const MAX_ARGUMENT_BYTES = 100_000;

/** A text quoted for a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The curl command for a request. With `secret` it sends an API key from the environment, so the key
 * itself isn't shown. */
export function curl(method, url, { body, secret } = {}) {
  const parts = [`curl ${method === "GET" || body ? "" : `-X ${method} `}${quoted(url)}`];
  if (secret) parts.push('-H "authorization: Bearer $ONELAYER_API_KEY"');
  if (body === undefined) return parts.join(" \\\n  ");
  parts.push("-H 'content-type: application/json'");
  if (new Blob([body]).size < MAX_ARGUMENT_BYTES) return [...parts, `-d ${quoted(body)}`].join(" \\\n  ");
  return `printf %s ${quoted(body)} |\n  ${[...parts, "-d @-"].join(" \\\n  ")}`;
}

/** Copies an element's text. Without https browsers have no clipboard API, so it is selected. */
export async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
  } catch {
    getSelection().selectAllChildren(element);
    document.execCommand("copy");
  }
}
