// Requests to the server, for both pages. The API key is stored in this tab only.

const memory = {};

/** A value that is stored in this tab; in memory if the browser forbids session storage. */
export function stored(name) {
  try {
    return sessionStorage.getItem(`onelayer.${name}`) ?? "";
  } catch {
    return memory[name] ?? "";
  }
}

export function store(name, value) {
  memory[name] = value;
  try {
    sessionStorage.setItem(`onelayer.${name}`, value);
  } catch {
    // The copy in memory is used.
  }
}

/** An answer with an error status: problem JSON of our server, or anything from a proxy. */
export class HttpError extends Error {
  constructor(response, problem) {
    super(problem.detail ?? problem.title ?? "");
    this.status = response.status;
    this.retryAfter = Number(response.headers.get("retry-after")) || 1;
    this.id = problem.request_id ?? response.headers.get("x-request-id") ?? "";
  }
}

/** GETs a path, or POSTs a body to it. Returns the parsed JSON, or throws an HttpError. */
export async function request(path, body, signal) {
  const headers = {};
  // fetch() throws for characters that a header can't have. The server's key can't have them either.
  const key = stored("key").replace(/[^ -~]/g, "");
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const method = body === undefined ? "GET" : "POST";
  const response = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  if (response.ok) return response.json();
  throw new HttpError(response, await response.json().catch(() => ({})));
}
