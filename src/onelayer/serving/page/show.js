// What a model says of an input, as elements. Nothing is ever parsed as HTML.

import { figure, percent, say } from "./words.js";

/** An element; strings among its children become text. */
export function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** An element with a text of the user's or the model's: in any language, in either direction. */
const own = (name, text, kind = "") => el(name, { dir: "auto", lang: "", class: kind }, text);

const PICTURES = { classify, regress, tag, answer, choose };

/** A prediction as [what is said in one line, the rest]. `sent` is the input that it is about. */
export function shown(model, prediction, sent) {
  const picture = Object.hasOwn(PICTURES, model.task) ? PICTURES[model.task] : json;
  return picture(prediction, sent, model);
}

/** A prediction of a task that has no picture here. */
function json(prediction) {
  const pre = own("pre", JSON.stringify(prediction, null, 2));
  pre.tabIndex = 0;
  return [[], [pre]];
}

function classify({ label, labels, probability, probabilities }, _, model) {
  const chosen = new Set(labels ?? [label]);
  const ranked = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  const from = new Map(model.labels.map((name, i) => [name, model.thresholds?.[i]]));
  const list = bars(ranked.map(([name, p]) => [name, p, chosen.has(name), from.get(name)]));
  if (!labels) return [[own("span", label), faint(percent(probability))], [list]];
  const rest = [list, ...(model.thresholds?.length ? [el("small", {}, say("threshold"))] : [])];
  if (!labels.length) return [[say("nolabel")], rest];
  return [labels.flatMap((name) => [own("span", name, "chip"), " "]), rest];
}

function regress({ value }, _, { range = [] }) {
  const number = (n) => figure(n, { maximumSignificantDigits: 6 });
  const headline = [own("span", number(value))];
  const [low, high] = range;
  if (!(low < high)) return [headline, []];
  const share = Math.min(Math.max((value - low) / (high - low), 0), 1);
  const bar = el("div", { class: "bars" }, track(share));
  return [headline, [bar, el("small", {}, say("between", number(low), number(high)))]];
}

function tag({ text, words, tags, entities }, _, model) {
  if (!entities.length && tags.some((name) => name !== "O"))
    return [[say("words", figure(words.length))], [passage(...tagged(text, words, tags))]];
  const hues = huesOf(model.labels ?? []);
  const spans = entities.map(({ start, end, label }) => [start, end, label]);
  const parts = marked(text, spans, (part, label) => {
    const mark = own("mark", part, "entity");
    mark.style.setProperty("--hue", hues(label));
    mark.append(" ", own("small", label));
    return mark;
  });
  const rows = entities.map(({ start, end, text: name, label, score }) =>
    el(
      "tr",
      {},
      own("td", name),
      own("td", label),
      number(`${start}–${end}`),
      number(percent(score)),
    ),
  );
  const head = ["text", "type", "characters", "probability"].map((it) => el("th", {}, say(it)));
  const table = el("table", { class: "entities" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  const list = el("details", {}, el("summary", {}, say("list")), table);
  return [[say("entities", entities.length)], [passage(...parts), ...(rows.length ? [list] : [])]];
}

function answer({ text, start, end, score, no_answer_score: none, candidates }, { context }) {
  const found = start !== null && start !== undefined;
  const spans = found ? [[start, end]] : [];
  const whole = passage(...marked(context, spans, (part) => own("mark", part, "found")));
  const headline = found
    ? [own("span", text), faint(percent(score))]
    : [say("noanswer"), faint(percent(none))];
  const others = (candidates ?? [])
    .filter((it) => it.start !== start || it.end !== end)
    .slice(0, 4);
  const list = others.map((it) => [it.text, it.score, false]);
  const title = el("h3", {}, say("others"));
  return [headline, [whole, ...(list.length ? [title, bars(list)] : [])]];
}

function choose({ option, index, probabilities }, { options }) {
  return [
    [own("span", option), faint(percent(probabilities[index]))],
    [bars(probabilities.map((p, i) => [options[i], p, i === index]))],
  ];
}

const faint = (text) => el("span", { class: "faint figure" }, ` ${text}`);
const number = (text) => el("td", { class: "figure" }, text);

// A box that scrolls must be reachable by keyboard.
const passage = (...parts) => {
  const box = own("div", "", "passage");
  box.tabIndex = 0;
  box.append(...parts);
  return box;
};

/** A text in pieces, the spans among them as `mark` makes them. Spans count characters as the
 * server does, by code points; a JavaScript string counts many of them (emoji) twice. */
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

/** Every word with its tag below it. Words come in order, so each is the next of its kind. */
function tagged(text, words, tags) {
  let at = 0;
  const parts = words.flatMap((word, i) => {
    const start = text.indexOf(word, at);
    const before = text.slice(at, start);
    at = start + word.length;
    return [before, el("ruby", {}, word, own("rt", tags[i]))];
  });
  return [...parts, text.slice(at)];
}

/** A hue for each type that the labels name, whatever the text: far apart, the first one blue. */
function huesOf(labels) {
  const types = labels.filter((name) => name !== "O").map((name) => name.replace(/^[A-Z]-/, ""));
  const known = [...new Set(types)];
  return (type) => {
    if (!known.includes(type)) known.push(type);
    return (250 + known.indexOf(type) * 137.5) % 360;
  };
}

/** [name, probability, whether it is chosen, from which probability it would be] as bars: ten of
 * them, the others on demand. */
function bars(items) {
  const list = (some) => el("ul", { class: "bars" }, ...some.map(bar));
  if (items.length <= 12) return list(items);
  const rest = el(
    "details",
    {},
    el("summary", {}, say("all", items.length)),
    list(items.slice(10)),
  );
  return el("div", {}, list(items.slice(0, 10)), rest);
}

function bar([name, p, chosen, from]) {
  const tick = el("span", { class: "tick", role: "img", "aria-label": say("chosen") }, "✓");
  const title = own("span", name, "name");
  if (chosen) title.prepend(tick, " ");
  const share = el("span", { class: "figure" }, percent(p));
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
