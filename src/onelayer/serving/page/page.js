// The page at /: a form for one model's input, the answer, and the curl line for the same request.

import { HttpError, request, store, stored } from "./api.js";
import { copy, curl } from "./curl.js";
import { el, labelLine, present, shortened } from "./show.js";
import { formatNumber, generalExamples, t, translatePage } from "./words.js";

const byId = (id) => document.getElementById(id);
const ROWS = { text: 5, pair: 3, question: 2, context: 8, options: 4 };

let models = null;
let model = null;
/** The result of the last request: {sent, prediction, tokens, unread, ms}, {error}, or {missing} if
 * the input was incomplete. null before the first request. */
let result = null;
/** The AbortController of the request that is being sent. */
let running = null;

// The input

const fields = () => [...byId("fields").querySelectorAll("textarea")];
const isOptional = (role) => role === "question" && model.inputs.includes("options");

function label(role) {
  if (role === "text" && model.inputs.includes("pair")) return t("first");
  return t(isOptional(role) ? "optional" : role) ?? role;
}

function lines(text) {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}

/** The input by role, without what is optional and empty. */
function input() {
  const given = fields().map(({ name, value }) => [
    name,
    name === "options" ? lines(value) : value,
  ]);
  return Object.fromEntries(given.filter(([name, value]) => value.length || !isOptional(name)));
}

/** Why the input can't be sent: the field, and a function that gives the message in the current
 * language. undefined if it can. */
function inputProblem() {
  const empty = fields().find(({ name, value }) => !value.trim() && !isOptional(name));
  if (empty) return { field: empty, message: () => t("missing", label(empty.name)) };
  const options = fields().find(({ name, value }) => name === "options" && lines(value).length < 2);
  return options && { field: options, message: () => t("two") };
}

const path = () => `v1/models/${encodeURIComponent(model.name)}/${model.task}`;
const body = () => JSON.stringify({ inputs: input() });

/** A value of the input as its field holds it: options have a line each. */
const asText = (value) =>
  Array.isArray(value) ? value.map((one) => one.replace(/\s*[\r\n]\s*/g, " ")).join("\n") : value;

function fillFields(values) {
  for (const field of fields()) field.value = asText(values[field.name] ?? "");
  showCurl();
}

// Showing

function selectModel(name) {
  const before = models && model ? Object.fromEntries(fields().map((f) => [f.name, f.value])) : {};
  model = models.find((one) => one.name === name) ?? models[0];
  byId("fields").replaceChildren(
    ...model.inputs.flatMap((role) => [
      el("label", { for: `field-${role}` }, label(role)),
      el("textarea", { id: `field-${role}`, name: role, rows: ROWS[role] ?? 3, dir: "auto" }),
    ]),
  );
  reset();
  fillFields(before);
}

function showModel() {
  if (!model) return;
  const facts = [
    models.length === 1 && model.name,
    t(`does_${model.task}`),
    model.max_length && t("reads", formatNumber(model.max_length)),
    [model.engine, model.precision].filter(Boolean).join(" "),
  ];
  byId("about").textContent = facts.filter(Boolean).join(" · ");
  for (const it of byId("fields").querySelectorAll("label"))
    it.textContent = label(it.htmlFor.slice("field-".length));
  byId("labels").replaceChildren(...labelLine(model));
  byId("labels").hidden = !byId("labels").hasChildNodes();
  showExamples();
}

/** Shows the examples that the server was given for the model, else general ones. */
function showExamples() {
  const own = model.examples ?? [];
  const shown = own.length ? own : generalExamples(model);
  byId("examples").hidden = !shown.length;
  byId("examples-title").textContent = t(own.length ? "examples" : "generic");
  byId("examples").querySelector("ul").replaceChildren(...shown.map(exampleItem));
}

function exampleItem(values) {
  const texts = [values.text, values.pair].filter(Boolean).join(" / ");
  const title = values.question || texts || asText(Object.values(values)[0]);
  const attributes = { type: "button", class: "example", dir: "auto", lang: "" };
  const button = el("button", attributes, shortened(title.trim(), 200));
  button.onclick = () => {
    fillFields(values);
    byId("form").requestSubmit();
  };
  return el("li", {}, button);
}

function showCurl() {
  if (!model) return;
  const url = new URL(path(), document.baseURI).href;
  byId("curl").textContent = curl("POST", url, { body: body(), secret: Boolean(stored("key")) });
}

function errorMessage(error) {
  if (!(error instanceof HttpError)) return t("e0");
  const { status, retryAfter } = error;
  if (status === 401 && stored("key")) return t("wrongkey");
  if (status === 429) return t("e429", retryAfter);
  const same = { 400: 422, 411: 413, 504: 408 }[status] ?? status;
  return t(`e${same}`) ?? t("refused", status);
}

function errorElements(error) {
  const headline = [el("span", { class: "bad" }, errorMessage(error))];
  if (!(error instanceof HttpError) || error.status === 401) return [headline, []];
  const detail = el("p", { lang: "en", dir: "auto" }, error.message);
  return [headline, [detail, el("p", { class: "faint" }, t("request", error.id))]];
}

/** Shows the result in the current language. */
function render() {
  const { error, missing, prediction, sent, ms, tokens, unread } = result ?? {};
  let [headline, detail] = [[el("span", { class: "faint" }, t("empty"))], []];
  if (!models && !error) headline = [""];
  if (error) [headline, detail] = errorElements(error);
  if (missing) headline = [el("span", { class: "bad" }, missing())];
  if (prediction) [headline, detail] = present(model, prediction, sent);
  byId("headline").replaceChildren(...headline);
  const size = byId("headline").textContent.length < 80 ? "large" : "long";
  byId("headline").className = prediction ? size : "";
  byId("detail").replaceChildren(...detail);
  byId("cost").replaceChildren(...(prediction ? costLines(ms, tokens, unread) : []));
  const box = byId("detail").querySelector(".passage");
  const mark = box?.querySelector("mark.found");
  if (mark) box.scrollTop = mark.offsetTop - box.clientHeight / 2;
}

function costLines(ms, tokens, unread) {
  const took = t("took", formatNumber(ms, { maximumFractionDigits: ms < 10 ? 1 : 0 }));
  const read = t("read", formatNumber(tokens));
  const lost = unread ? [el("strong", {}, t("unread", formatNumber(unread)))] : [];
  return [`${took} · ${read}`, ...lost];
}

// Events

function reset() {
  running?.abort();
  result = null;
  for (const field of fields()) field.removeAttribute("aria-invalid");
  byId("answer").removeAttribute("aria-busy");
  render();
}

async function send() {
  reset();
  const problem = inputProblem();
  if (problem) {
    result = { missing: problem.message };
    problem.field.setAttribute("aria-invalid", "true");
    problem.field.focus();
    return render();
  }
  const { signal } = (running = new AbortController());
  byId("answer").setAttribute("aria-busy", "true");
  const outcome = await predict(input(), signal);
  if (signal.aborted) return;
  result = outcome;
  running = null;
  byId("answer").removeAttribute("aria-busy");
  render();
  if (result.error?.status === 401) return askForKey();
  const { top, bottom } = byId("headline").getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) byId("answer").scrollIntoView();
}

async function predict(sent, signal) {
  const started = performance.now();
  try {
    const { predictions, tokens, unread_tokens: unread } = await request(path(), body(), signal);
    const ms = performance.now() - started;
    return { sent, prediction: predictions[0], tokens, unread, ms };
  } catch (error) {
    return { error };
  }
}

/** Shows the form for the API key. Submitting it repeats the request that got 401. */
function askForKey() {
  byId("key-form").hidden = false;
  byId("key").select();
  byId("key").focus();
}

async function start() {
  try {
    await request("health/ready");
    ({ models } = await request("v1/models"));
    result = null;
  } catch (error) {
    result = { error };
  }
  byId("main").classList.remove("waiting");
  byId("main").classList.toggle("no-models", !models);
  if (models) {
    byId("model").replaceChildren(...models.map(({ name }) => el("option", { value: name }, name)));
    byId("choice").classList.toggle("single", models.length === 1);
    selectModel();
    showModel();
    fields()[0].focus({ preventScroll: true });
    return;
  }
  render();
  const { status, retryAfter } = result.error;
  if (status === 401) askForKey();
  if (status === 503) setTimeout(start, 1000 * retryAfter);
}

byId("form").onsubmit = (event) => {
  event.preventDefault();
  send();
};
byId("key-form").onsubmit = (event) => {
  event.preventDefault();
  store("key", byId("key").value.trim());
  byId("key-form").hidden = true;
  showCurl();
  if (models) send();
  else start();
};
byId("model").onchange = () => {
  selectModel(byId("model").value);
  showModel();
};
byId("fields").oninput = showCurl;
byId("clear").onclick = clear;
byId("copy").onclick = async () => {
  await copy(byId("curl"));
  byId("copy").textContent = t("copied");
  setTimeout(() => (byId("copy").textContent = t("copy")), 2000);
};

function clear() {
  reset();
  fillFields({});
  fields()[0].focus();
}

document.onkeydown = (event) => {
  // While an input method composes a word (Chinese, Japanese), its keys are not shortcuts.
  if (event.isComposing || !model) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    byId("form").requestSubmit();
  }
  if (event.key === "Escape" && !event.target.matches("select, #key")) {
    event.preventDefault();
    if (running) reset();
    else clear();
  }
};

if (/Mac|iPhone|iPad/.test(navigator.platform)) byId("shortcut").textContent = "⌘ Enter";
translatePage(() => {
  showModel();
  render();
});
start();
