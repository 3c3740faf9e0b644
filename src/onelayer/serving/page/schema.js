// Shows JSON Schema: types in one line, objects as tables, and an example value.

import { el } from "./show.js";
import { t } from "./words.js";

const LIMITS = {
  minimum: "≥",
  exclusiveMinimum: ">",
  maximum: "≤",
  exclusiveMaximum: "<",
  minLength: "length ≥",
  maxLength: "length ≤",
  minItems: "items ≥",
  maxItems: "items ≤",
  pattern: "pattern",
};
const nameOf = (reference) => reference.split("/").at(-1);
const code = (text) => el("code", {}, text);
const between = (parts, text) => parts.flatMap((part, i) => (i ? [text, ...part] : part));

/** A schema's type as a list of nodes and strings. A named schema is a link to its definition. */
export function typeOf(schema) {
  if (schema === undefined || schema === true) return ["any"];
  const { $ref, enum: values, anyOf, oneOf, allOf, prefixItems, items, type } = schema;
  if ($ref) return [el("a", { href: `#${nameOf($ref)}` }, nameOf($ref))];
  if ("const" in schema) return [code(JSON.stringify(schema.const))];
  if (values)
    return between(
      values.map((value) => [code(JSON.stringify(value))]),
      " | ",
    );
  if (anyOf ?? oneOf) return between((anyOf ?? oneOf).map(typeOf), " | ");
  if (allOf) return between(allOf.map(typeOf), " & ");
  if (prefixItems) return ["[", ...between(prefixItems.map(typeOf), ", "), "]"];
  if (items) {
    const inner = typeOf(items);
    return inner.length > 1 ? ["(", ...inner, ")[]"] : [...inner, "[]"];
  }
  if (schema.additionalProperties?.type ?? schema.additionalProperties?.$ref)
    return ["{name: ", ...typeOf(schema.additionalProperties), "}"];
  return [[type ?? "any"].flat().join(" | ")];
}

/** The limits and the default of a value, also those of each alternative. */
function limits(schema) {
  const all = [schema, ...(schema.anyOf ?? schema.oneOf ?? [])].flatMap((one) =>
    Object.entries(LIMITS)
      .filter(([key]) => one[key] !== undefined)
      .map(([key, sign]) => `${sign} ${one[key]}`),
  );
  const otherwise = schema.default ?? null;
  if (otherwise !== null) all.push(`${t("default")} ${JSON.stringify(otherwise)}`);
  return all.join(", ");
}

/** A description as paragraphs, with `code` in backquotes. */
export function prose(text) {
  return (text ?? "")
    .split(/\n\s*\n/)
    .filter(Boolean)
    .map((paragraph) =>
      el(
        "p",
        { lang: "en" },
        ...paragraph.split("`").map((part, i) => (i % 2 ? code(part) : part)),
      ),
    );
}

/** A table row: name, type, limits and description. */
export function row(name, schema, isRequired, description = schema.description) {
  const facts = [isRequired && t("required"), limits(schema)].filter(Boolean).join(", ");
  const inner = schema.properties && !schema.$ref ? [properties(schema)] : [];
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, code(name)),
    el("td", {}, ...typeOf(schema), " ", el("small", {}, facts), ...prose(description), ...inner),
  );
}

export function properties({ properties: named, required = [] }) {
  const rows = Object.entries(named ?? {});
  return el("table", {}, ...rows.map(([name, of]) => row(name, of, required.includes(name))));
}

/** An example value for a schema; its own example if it has one. */
export function sample(schema, named, depth = 0) {
  const { $ref, example, examples, anyOf, oneOf, allOf, prefixItems, items, type } = schema ?? {};
  const again = (of) => sample(of, named, depth + 1);
  if (depth > 8) return null;
  if ($ref) return again(named[nameOf($ref)]);
  const known = [example, examples?.[0], schema?.default, schema?.const, schema?.enum?.[0]];
  const given = known.find((value) => value != null);
  if (given !== undefined) return given;
  if (anyOf ?? oneOf) return again((anyOf ?? oneOf)[0]);
  if (allOf) return Object.assign({}, ...allOf.map(again));
  if (prefixItems) return prefixItems.map(again);
  if (items) return [again(items)];
  if (schema?.properties) {
    const required = schema.required ?? Object.keys(schema.properties);
    return Object.fromEntries(
      required.map((name) => [name, again({ title: name, ...schema.properties[name] })]),
    );
  }
  const plain = { number: 0.5, integer: 1, boolean: true, array: [], object: {} };
  return { ...plain, string: schema?.title ?? "text" }[type] ?? null;
}
