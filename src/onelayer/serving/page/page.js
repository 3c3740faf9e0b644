// The form: which model, what goes in, what came out, and the curl line that does the same.

import { Refusal, ask, keep, kept } from "./api.js";
import { copy, curl } from "./curl.js";
import { el, shown } from "./show.js";
import { examples, figure, say, translate } from "./words.js";

const at = (id) => document.getElementById(id);
const ROWS = { text: 5, pair: 3, question: 2, context: 8, options: 4 };

let models = null;
let model = null;
/** What became of the last request: {sent, prediction, tokens, unread, ms}, {error}, or {missing}
 * if it wasn't sent; null before the first. */
let result = null;
let running = null;

// What goes in

const fields = () => [...at("fields").querySelectorAll("textarea")];
const isOptional = (role) => role === "question" && model.inputs.includes("options");

function label(role) {
  if (role === "text" && model.inputs.includes("pair")) return say("first");
  return say(isOptional(role) ? "optional" : role) ?? role;
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

/** What keeps the input from being sent: the field and the words for it. */
function lack() {
  const empty = fields().find(({ name, value }) => !value.trim() && !isOptional(name));
  if (empty) return { field: empty, words: () => say("missing", label(empty.name)) };
  const options = fields().find(({ name, value }) => name === "options" && lines(value).length < 2);
  return options && { field: options, words: () => say("two") };
}

const path = () => `v1/models/${encodeURIComponent(model.name)}/${model.task}`;
const body = () => JSON.stringify({ inputs: input() });

function fill(values) {
  for (const field of fields()) field.value = values[field.name] ?? "";
  write();
}

// What the page shows

function choose(name) {
  const before = models && model ? Object.fromEntries(fields().map((f) => [f.name, f.value])) : {};
  model = models.find((one) => one.name === name) ?? models[0];
  at("fields").replaceChildren(
    ...model.inputs.flatMap((role) => [
      el("label", { for: `field-${role}` }, label(role)),
      el("textarea", { id: `field-${role}`, name: role, rows: ROWS[role] ?? 3, dir: "auto" }),
    ]),
  );
  forget();
  fill(before);
}

function describe() {
  if (!model) return;
  const facts = [
    models.length === 1 && model.name,
    say(`does_${model.task}`),
    model.labels?.length && model.task === "classify" && say("labels", figure(model.labels.length)),
    model.max_length && say("reads", figure(model.max_length)),
    [model.engine, model.precision].filter(Boolean).join(" "),
  ];
  at("about").textContent = facts.filter(Boolean).join(" · ");
  for (const it of at("fields").querySelectorAll("label"))
    it.textContent = label(it.htmlFor.slice("field-".length));
  const known = examples(model.task, model.inputs);
  at("examples").hidden = !known.length;
  at("examples")
    .querySelector("ul")
    .replaceChildren(
      ...known.map((values) => {
        const texts = [values.text, values.pair].filter(Boolean).join(" / ");
        const title = values.question ?? texts;
        const button = el("button", { type: "button", class: "example" }, title);
        button.onclick = () => {
          fill(values);
          at("form").requestSubmit();
        };
        return el("li", {}, button);
      }),
    );
}

function write() {
  if (!model) return;
  const url = new URL(path(), document.baseURI).href;
  at("curl").textContent = curl("POST", url, { body: body(), secret: Boolean(kept("key")) });
}

function explained(error) {
  if (!(error instanceof Refusal)) return say("e0");
  const { status, retryAfter } = error;
  if (status === 401 && kept("key")) return say("wrongkey");
  if (status === 429) return say("e429", retryAfter);
  const same = { 400: 422, 411: 413, 504: 408 }[status] ?? status;
  return say(`e${same}`) ?? say("refused", status);
}

function failed(error) {
  const headline = [el("span", { class: "bad" }, explained(error))];
  if (!(error instanceof Refusal) || error.status === 401) return [headline, []];
  const detail = el("p", { lang: "en", dir: "auto" }, error.message);
  return [headline, [detail, el("p", { class: "faint" }, say("request", error.id))]];
}

/** The result in the language of the page. */
function render() {
  const { error, missing, prediction, sent, ms, tokens, unread } = result ?? {};
  let [headline, detail] = [[el("span", { class: "faint" }, say("empty"))], []];
  if (!models && !error) headline = [""];
  if (error) [headline, detail] = failed(error);
  if (missing) headline = [el("span", { class: "bad" }, missing())];
  if (prediction) [headline, detail] = shown(model, prediction, sent);
  at("headline").replaceChildren(...headline);
  const size = at("headline").textContent.length < 80 ? "large" : "long";
  at("headline").className = prediction ? size : "";
  at("detail").replaceChildren(...detail);
  at("cost").replaceChildren(...(prediction ? cost(ms, tokens, unread) : []));
  const box = at("detail").querySelector(".passage");
  const mark = box?.querySelector("mark.found");
  if (mark) box.scrollTop = mark.offsetTop - box.clientHeight / 2;
}

function cost(ms, tokens, unread) {
  const took = say("took", figure(ms, { maximumFractionDigits: ms < 10 ? 1 : 0 }));
  const read = say("read", figure(tokens));
  const lost = unread ? [el("strong", {}, say("unread", figure(unread)))] : [];
  return [`${took} · ${read}`, ...lost];
}

// What happens

function forget() {
  running?.abort();
  result = null;
  for (const field of fields()) field.removeAttribute("aria-invalid");
  at("answer").removeAttribute("aria-busy");
  render();
}

async function send() {
  forget();
  const lacking = lack();
  if (lacking) {
    result = { missing: lacking.words };
    lacking.field.setAttribute("aria-invalid", "true");
    lacking.field.focus();
    return render();
  }
  const { signal } = (running = new AbortController());
  at("answer").setAttribute("aria-busy", "true");
  const outcome = await answered(input(), signal);
  if (signal.aborted) return;
  result = outcome;
  running = null;
  at("answer").removeAttribute("aria-busy");
  render();
  if (result.error?.status === 401) return open();
  const { top, bottom } = at("headline").getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) at("answer").scrollIntoView();
}

async function answered(sent, signal) {
  const began = performance.now();
  try {
    const { predictions, tokens, unread_tokens: unread } = await ask(path(), body(), signal);
    const ms = performance.now() - began;
    return { sent, prediction: predictions[0], tokens, unread, ms };
  } catch (error) {
    return { error };
  }
}

/** Asks for the key, and goes on with what was refused for want of it. */
function open() {
  at("door").hidden = false;
  at("key").select();
  at("key").focus();
}

async function begin() {
  try {
    await ask("health/ready");
    ({ models } = await ask("v1/models"));
    result = null;
  } catch (error) {
    result = { error };
  }
  at("main").classList.remove("waiting");
  at("main").classList.toggle("shut", !models);
  if (models) {
    at("model").replaceChildren(...models.map(({ name }) => el("option", { value: name }, name)));
    at("choice").classList.toggle("single", models.length === 1);
    choose();
    describe();
    fields()[0].focus({ preventScroll: true });
    return;
  }
  render();
  const { status, retryAfter } = result.error;
  if (status === 401) open();
  if (status === 503) setTimeout(begin, 1000 * retryAfter);
}

at("form").onsubmit = (event) => {
  event.preventDefault();
  send();
};
at("door").onsubmit = (event) => {
  event.preventDefault();
  keep("key", at("key").value.trim());
  at("door").hidden = true;
  write();
  if (models) send();
  else begin();
};
at("model").onchange = () => {
  choose(at("model").value);
  describe();
};
at("fields").oninput = write;
at("clear").onclick = clear;
at("copy").onclick = async () => {
  await copy(at("curl"));
  at("copy").textContent = say("copied");
  setTimeout(() => (at("copy").textContent = say("copy")), 2000);
};

function clear() {
  forget();
  fill({});
  fields()[0].focus();
}

document.onkeydown = (event) => {
  // While an input method composes a word, its keys are the method's own.
  if (event.isComposing || !model) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    at("form").requestSubmit();
  }
  if (event.key === "Escape" && !event.target.matches("select, #key")) {
    event.preventDefault();
    if (running) forget();
    else clear();
  }
};

if (/Mac|iPhone|iPad/.test(navigator.platform)) at("shortcut").textContent = "⌘ Enter";
translate(() => {
  describe();
  render();
});
begin();
