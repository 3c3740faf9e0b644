// The page at /docs, made from openapi.json: every route with its curl command, and every object.

import { request, stored } from "./api.js";
import { copy, curl } from "./curl.js";
import { properties, prose, row, sample, typeOf } from "./schema.js";
import { el } from "./show.js";
import { t, translatePage } from "./words.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const byId = (id) => document.getElementById(id);
let api = null;

const named = () => api.components?.schemas ?? {};
const resolved = (it) =>
  it.$ref
    ? it.$ref
        .split("/")
        .slice(1)
        .reduce((o, key) => o[key], api)
    : it;

function operations() {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      ...item[method],
      path,
      method: method.toUpperCase(),
      parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])].map(resolved),
    })),
  );
}

/** The type of a body: that of its JSON, or the media type of another format. */
function content(of) {
  const json = Object.entries(of ?? {}).find(([kind]) => /json/.test(kind));
  if (!json) return [Object.keys(of ?? {}).join(", ")];
  return json[1].schema ? typeOf(json[1].schema) : [json[0]];
}

function line({ method, path, parameters, requestBody }) {
  const filled = path.replace(/\{(\w+)[^}]*\}/g, (_, name) => {
    const { example, examples, schema } = parameters.find((it) => it.name === name) ?? {};
    const known = example ?? Object.values(examples ?? {})[0]?.value;
    return encodeURIComponent(known ?? sample({ ...schema, title: name.toUpperCase() }, named()));
  });
  const url = new URL(filled.slice(1), document.baseURI).href;
  const json = requestBody && resolved(requestBody).content?.["application/json"];
  const example = json && (json.example ?? Object.values(json.examples ?? {})[0]?.value);
  const body = json && JSON.stringify(example ?? sample(json.schema, named()));
  const pre = el(
    "pre",
    { dir: "ltr", tabindex: 0 },
    curl(method, url, { body, secret: stored("key") }),
  );
  const button = el("button", { type: "button", class: "quiet copy" }, t("copy"));
  button.onclick = async () => {
    await copy(pre);
    button.textContent = t("copied");
  };
  return el("div", { class: "line" }, el("h3", {}, "curl"), button, pre);
}

function section(title, rows) {
  return rows.length ? [el("h3", {}, title), el("table", {}, ...rows)] : [];
}

function operation(of) {
  const { method, path, summary, description, parameters, requestBody, responses } = of;
  const body = requestBody && resolved(requestBody);
  const answers = Object.entries(responses ?? {}).map(([status, it]) => {
    const { description: text, content: what } = resolved(it);
    const type = el("td", {}, ...content(what), " ", el("small", {}, text ?? ""));
    return el("tr", {}, el("th", { scope: "row" }, el("code", {}, status)), type);
  });
  return fold(
    `${method} ${path}`,
    [
      el("b", { class: "method" }, method),
      " ",
      el("code", {}, path),
      " ",
      el("small", {}, summary ?? ""),
    ],
    ...prose(description),
    line(of),
    ...section(
      t("parameters"),
      parameters.map((it) =>
        row(it.name, it.schema ?? {}, it.required, it.description ?? it.schema?.description),
      ),
    ),
    ...(body
      ? [
          el("h3", {}, t("body")),
          el("p", {}, ...content(body.content)),
          ...prose(body.description),
        ]
      : []),
    ...section(t("answers"), answers),
  );
}

function object([name, schema]) {
  const type = schema.properties ? properties(schema) : el("p", {}, ...typeOf(schema));
  return fold(name, [el("code", {}, name)], ...prose(schema.description), type);
}

/** A section that opens when its title is clicked, or when the address's fragment is its name. */
function fold(name, title, ...inside) {
  const id = name.replace(/[^\w{}/.-]+/g, "-");
  return el("details", { id, class: "fold" }, el("summary", {}, ...title), ...inside);
}

function follow() {
  const target = byId(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName !== "DETAILS") return;
  target.open = true;
  target.scrollIntoView();
  target.querySelector("summary").focus({ preventScroll: true });
}

function render() {
  if (!api) return;
  const { title, version, description } = api.info;
  const link = el("a", { href: "openapi.json" }, "openapi.json");
  const heading = el("h2", { class: "title" }, title, " ", el("small", {}, version));
  byId("intro").replaceChildren(heading, ...prose(description), el("p", {}, t("intro"), " ", link));
  const groups = Map.groupBy(operations(), ({ tags }) => tags?.[0] ?? "");
  const listed = [...groups].flatMap(([tag, some]) => [
    ...(tag ? [el("h2", {}, tag)] : []),
    ...some.map(operation),
  ]);
  byId("operations").replaceChildren(...listed);
  const objects = Object.entries(named());
  byId("schemas").replaceChildren(
    ...(objects.length ? [el("h2", {}, t("schemas")), ...objects.map(object)] : []),
  );
  follow();
}

translatePage(render);
addEventListener("hashchange", follow);
try {
  api = await request("openapi.json");
  render();
} catch (error) {
  byId("trouble").textContent = error.status ? t("refused", error.status) : t("e0");
}
byId("main").classList.remove("waiting");
