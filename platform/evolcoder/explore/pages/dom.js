"use strict";
// Elements from plain data. Text goes in as text nodes alone: nothing that a model wrote can become HTML.

const h = (name, properties, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
};

const add = (element, children) => {
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false)
      element.append(child instanceof Node ? child : String(child));
  }
};

// Text from outside: a direction of its own, so that it cannot turn what stands around it.
const foreign = (text, name = "bdi") => h(name, { dir: "auto" }, text);

const block = (text, ...more) =>
  h("pre", { dir: "auto", tabindex: "0", ...more[0] }, text === "" ? h("i", {}, "empty") : text);

const tag = (text, kind) => h("span", { class: `tag ${kind ?? ""}` }, foreign(text));

const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

const words = (name) => String(name).replaceAll("_", " ");

// A hash route: its parts, and its parameters without those that are empty. A slash in the last part stays readable.
const route = (parts, parameters = {}) => {
  const path = parts.map((part) => encodeURIComponent(part).replaceAll("%2F", "/")).join("/");
  const query = new URLSearchParams(
    Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined && value !== null),
  );
  return `#/${path}${String(query) && `?${query}`}`;
};

const link = (where, ...children) => h("a", { href: where }, ...children);

// A parameter that counts from one; whatever else it is, is one.
const numbered = (asked, name) => Math.max(1, Number.parseInt(asked.get(name) ?? "1", 10) || 1);

// The links below a list that is shown in pieces.
const pager = (page, pages, to) =>
  pages > 1 &&
  h(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    page > 1 ? link(to(page - 1), "Previous") : h("span", { class: "soft" }, "Previous"),
    h("span", {}, `Page ${page.toLocaleString("en")} of ${pages.toLocaleString("en")}`),
    page < pages ? link(to(page + 1), "Next") : h("span", { class: "soft" }, "Next"),
  );

const table = (caption, columns, rows) =>
  h(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((column) => h("th", { scope: "col" }, column)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            row.map((cell, index) => (index === 0 ? h("th", { scope: "row" }, cell) : h("td", {}, cell))),
          ),
        ),
      ),
    ),
  );
