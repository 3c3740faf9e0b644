// Shows predictions as elements. No text is ever parsed as HTML.

import { formatNumber, formatPercent, t } from "./words.js";

/** An element; strings among its children become text. */
export function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** An element for text of the user or the model, whose language and direction aren't known. */
const userText = (name, text, kind = "") => el(name, { dir: "auto", lang: "", class: kind }, text);

const RENDERERS = { classify, regress, tag, answer, choose };

const LABELS_SHOWN = 8;

/** What a model may answer, by its labels, as nodes; none for a task without labels. */
export function labelLine({ task, labels, thresholds }) {
  if (!labels?.length || !["classify", "tag"].includes(task)) return [];
  const names = labels.includes("O") && task === "tag" ? typesOf(labels) : labels;
  const sentence = task === "tag" ? "finds" : thresholds?.length ? "several" : "one";
  const shown = names.slice(0, LABELS_SHOWN).flatMap((name) => [
    t("comma"),
    userText("bdi", shortened(name, 40)),
  ]);
  const more = names.length - LABELS_SHOWN;
  return [t(sentence, ""), ...shown.slice(1), more > 0 ? t("further", formatNumber(more)) : ""];
}

/** The beginning of a text, as many characters as readers see: a flag or a family is one. */
export function shortened(text, characters) {
  const beginning = text.slice(0, 20 * characters);
  const parts = Array.from(new Intl.Segmenter().segment(beginning), ({ segment }) => segment);
  if (parts.length <= characters && beginning === text) return text;
  return `${parts.slice(0, characters).join("")}…`;
}

/** A prediction as [headline, details], two lists of nodes. `sent` is the input. */
export function present(model, prediction, sent) {
  const show = Object.hasOwn(RENDERERS, model.task) ? RENDERERS[model.task] : rawJson;
  return show(prediction, sent, model);
}

/** A prediction of a task that has no renderer here. */
function rawJson(prediction) {
  const pre = userText("pre", JSON.stringify(prediction, null, 2));
  pre.tabIndex = 0;
  return [[], [pre]];
}

function classify({ label, labels, probability, probabilities }, _, model) {
  const chosen = new Set(labels ?? [label]);
  const ranked = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  const from = new Map(model.labels.map((name, i) => [name, model.thresholds?.[i]]));
  const list = bars(ranked.map(([name, p]) => [name, p, chosen.has(name), from.get(name)]));
  if (!labels) return [[userText("span", label), faint(formatPercent(probability))], [list]];
  const rest = [list, ...(model.thresholds?.length ? [el("small", {}, t("threshold"))] : [])];
  if (!labels.length) return [[t("nolabel")], rest];
  return [labels.flatMap((name) => [userText("span", name, "chip"), " "]), rest];
}

function regress({ value }, _, { range = [] }) {
  const number = (n) => formatNumber(n, { maximumSignificantDigits: 6 });
  const headline = [userText("span", number(value))];
  const [low, high] = range;
  if (!(low < high)) return [headline, []];
  const share = Math.min(Math.max((value - low) / (high - low), 0), 1);
  const bar = el("div", { class: "bars" }, track(share));
  return [headline, [bar, el("small", {}, t("between", number(low), number(high)))]];
}

function tag({ text, words, tags, entities }, _, model) {
  if (!entities.length && tags.some((name) => name !== "O"))
    return [[t("words", formatNumber(words.length))], [passage(...tagged(text, words, tags))]];
  const hues = huesOf(model.labels ?? []);
  const spans = entities.map(({ start, end, label }) => [start, end, label]);
  const parts = marked(text, spans, (part, label) => {
    const mark = userText("mark", part, "entity");
    mark.style.setProperty("--hue", hues(label));
    mark.append(" ", userText("small", label));
    return mark;
  });
  const rows = entities.map(({ start, end, text: name, label, score }) =>
    el(
      "tr",
      {},
      userText("td", name),
      userText("td", label),
      number(`${start}–${end}`),
      number(formatPercent(score)),
    ),
  );
  const head = ["text", "type", "characters", "probability"].map((it) => el("th", {}, t(it)));
  const table = el("table", { class: "entities" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  const list = el("details", {}, el("summary", {}, t("list")), table);
  return [[t("entities", entities.length)], [passage(...parts), ...(rows.length ? [list] : [])]];
}

function answer({ text, start, end, score, no_answer_score: none, candidates }, { context }) {
  const found = start !== null && start !== undefined;
  const spans = found ? [[start, end]] : [];
  const whole = passage(...marked(context, spans, (part) => userText("mark", part, "found")));
  const headline = found
    ? [userText("span", text), faint(formatPercent(score))]
    : [t("noanswer")];
  const others = (candidates ?? [])
    .filter((it) => it.start !== start || it.end !== end)
    .slice(0, 4);
  const list = others.map((it) => [it.text, it.score, false]);
  // 0: the model always answers. A share says little of "no answer": a margin decides.
  if (none > 0) list.push([t("noanswer"), none, !found]);
  list.sort(([, a], [, b]) => b - a);
  const title = el("h3", {}, t(found ? "others" : "candidates"));
  const note = none > 0 ? [el("small", {}, t("margin"))] : [];
  return [headline, [whole, ...(list.length ? [title, bars(list), ...note] : [])]];
}

function choose({ option, index, probabilities }, { options }) {
  return [
    [userText("span", option), faint(formatPercent(probabilities[index]))],
    [bars(probabilities.map((p, i) => [options[i], p, i === index]))],
  ];
}

const faint = (text) => el("span", { class: "faint figure" }, ` ${text}`);
const number = (text) => el("td", { class: "figure" }, text);

// With a tab index a box can be scrolled by keyboard.
const passage = (...parts) => {
  const box = userText("div", "", "passage");
  box.tabIndex = 0;
  box.append(...parts);
  return box;
};

/** Splits a text into strings and marked spans; `mark` makes the element of a span. Spans count code
 * points, as the server does. A JavaScript string counts UTF-16 units, two for an emoji. */
function marked(text, spans, mark) {
  const points = Array.from(text);
  const part = (start, end) => points.slice(start, end).join("");
  let at = 0;
  const parts = spans.flatMap(([start, end, label]) => {
    const before = part(at, start);
    at = end;
    return [before, mark(part(start, end), label)];
  });
  return [...parts, part(at)];
}

/** Every word with its tag below it. Words come in order: each is searched behind the one before. */
function tagged(text, words, tags) {
  let at = 0;
  const parts = words.flatMap((word, i) => {
    const start = text.indexOf(word, at);
    const before = text.slice(at, start);
    at = start + word.length;
    return [before, el("ruby", {}, word, userText("rt", tags[i]))];
  });
  return [...parts, text.slice(at)];
}

/** The types of entities that tags such as B-PER and I-PER name. */
function typesOf(tags) {
  const types = tags.filter((name) => name !== "O").map((name) => name.replace(/^[A-Z]-/, ""));
  return [...new Set(types)];
}

/** Gives each type of entity a hue that doesn't depend on the text. Steps of the golden angle keep
 * the hues far apart; the first one is blue. */
function huesOf(labels) {
  const known = typesOf(labels);
  return (type) => {
    if (!known.includes(type)) known.push(type);
    return (250 + known.indexOf(type) * 137.5) % 360;
  };
}

/** Items [name, probability, whether it is chosen, its threshold] as bars. Of many, ten are shown
 * and the others can be opened. */
function bars(items) {
  const list = (some) => el("ul", { class: "bars" }, ...some.map(bar));
  if (items.length <= 12) return list(items);
  const rest = el(
    "details",
    {},
    el("summary", {}, t("all", items.length)),
    list(items.slice(10)),
  );
  return el("div", {}, list(items.slice(0, 10)), rest);
}

function bar([name, p, chosen, from]) {
  const tick = el("span", { class: "tick", role: "img", "aria-label": t("chosen") }, "✓");
  const title = userText("span", name, "name");
  if (chosen) title.prepend(tick, " ");
  const share = el("span", { class: "figure" }, formatPercent(p));
  return el("li", chosen ? { class: "chosen" } : {}, title, share, track(p, from));
}

function track(share, from) {
  const it = el("span", { class: "track" }, el("i"));
  it.style.setProperty("--share", share);
  if (from !== undefined) {
    it.append(el("b"));
    it.style.setProperty("--from", from);
  }
  return it;
}
