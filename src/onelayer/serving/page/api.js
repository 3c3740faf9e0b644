// The server, as both pages ask it. Its API key, if it wants one, stays in this tab.

const memory = {};

/** What this tab remembers; in memory alone where the browser forbids more. */
export function kept(name) {
  try {
    return sessionStorage.getItem(`onelayer.${name}`) ?? "";
  } catch {
    return memory[name] ?? "";
  }
}

export function keep(name, value) {
  memory[name] = value;
  try {
    sessionStorage.setItem(`onelayer.${name}`, value);
  } catch {
    // in memory it is
  }
}

/** An answer that is no success: problem JSON, or what a proxy made of it. */
export class Refusal extends Error {
  constructor(response, problem) {
    super(problem.detail ?? problem.title ?? "");
    this.status = response.status;
    this.retryAfter = Number(response.headers.get("retry-after")) || 1;
    this.id = problem.request_id ?? response.headers.get("x-request-id") ?? "";
  }
}

/** GETs a path, or POSTs a body to it; gives JSON, or throws a Refusal. */
export async function ask(path, body, signal) {
  const headers = {};
  // What is no header's text can't be the key, either.
  const key = kept("key").replace(/[^ -~]/g, "");
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const method = body === undefined ? "GET" : "POST";
  const response = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  if (response.ok) return response.json();
  throw new Refusal(response, await response.json().catch(() => ({})));
}
