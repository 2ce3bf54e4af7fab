"use strict";
// Instructions: the search, one row, a family over the rounds, and why rows were eliminated.

const Rows = (() => {
  const PER_LIST = 20;
  const AT_ONCE = 5; // so many hits fill a screen; they are shown when they are there, and then more
  const SNIPPET = 320;
  const LABELS = { round: "Round", operator: "Operator", status: "Kept or eliminated", reason: "Reason", language: "Language" };

  const label = (row) => (row.round === 0 ? "Seed" : `Round ${row.round}: ${words(row.operator)}`);

  const tags = (row) => h("p", { class: "tags" },
    tag(row.status === "kept" ? "kept" : `${row.status}: ${words(row.reason)}`, row.status), tag(row.language));

  const task = (row) => (row.input ? `${row.instruction}\n\nInput: ${row.input}` : row.instruction);

  // Where the words of a query stand in a text, marked.
  const marked = (text, asked) => {
    const pattern = asked.length && new RegExp(`(?<![\\p{L}\\p{N}])(?:${asked.join("|")})`, "giu"); // words hold letters and digits alone
    const first = pattern ? text.search(pattern) : -1;
    const from = Math.max(0, first - SNIPPET / 3);
    const piece = text.slice(from, from + SNIPPET);
    const parts = [];
    let at = 0;
    for (const found of pattern ? piece.matchAll(pattern) : []) {
      parts.push(piece.slice(at, found.index), h("mark", {}, found[0]));
      at = found.index + found[0].length;
    }
    return { found: first >= 0, nodes: [from > 0 && "… ", ...parts, piece.slice(at), from + SNIPPET < text.length && " …"] };
  };

  const hit = (row, asked) => {
    const inTask = marked(task(row), asked);
    const inResponse = asked.length && !inTask.found ? marked(row.response, asked) : null;
    return h("li", { class: "hit" },
      h("h2", {}, link(route(["row", row.id]), label(row))), tags(row),
      h("p", { class: "snippet", dir: "auto" }, inTask.nodes),
      inResponse?.found && h("p", { class: "snippet soft", dir: "auto" }, "Response: ", inResponse.nodes),
      row.evidence.length > 0 && h("ul", { class: "evidence" }, row.evidence.map((one) => h("li", {}, finding(one)))),
      row.family[1] > 1 && h("p", {}, link(route(["family", row.root_id]), `Family of ${row.family[1]} rows`)));
  };

  const finding = (one) => {
    if (one.duplicate_of) {
      const how = one.kind === "exact" ? "Says the same as" : `Says nearly the same (${Math.round(100 * one.similarity)} % alike) as`;
      return [`${how} `, link(route(["row", one.duplicate_of]), `row ${one.duplicate_of}`)];
    }
    return ["Holds ", h("strong", {}, foreign(`${one.benchmark} ${one.task_id}`)), `, found by the rule “${words(one.rule)}”: `, foreign(one.evidence, "q")];
  };

  const list = async (_, asked) => {
    const state = { q: asked.get("q") ?? "", responses: asked.get("responses") ?? "", problem: asked.get("problem") ?? "" };
    for (const name of Object.keys(LABELS)) state[name] = asked.get(name) ?? "";
    let page = Math.max(1, Number.parseInt(asked.get("page") ?? "1", 10) || 1);
    const status = h("p", { role: "status", class: "counted" });
    const results = h("div", {});
    const where = () => route(["rows"], { ...state, page: page > 1 ? page : "" });
    let turn = 0;

    const show = async () => {
      const mine = ++turn;
      const keys = [...Object.keys(LABELS), "problem"].filter((name) => state[name] !== "").map((name) => `=${name}:${state[name]}`);
      const found = await Search.find(state.q, state.responses === "1", keys);
      const pages = Math.max(1, Math.ceil(found.length / PER_LIST));
      page = Math.min(page, pages);
      const first = (page - 1) * PER_LIST;
      const numbers = Array.from({ length: Math.min(PER_LIST, found.length - first) }, (_, index) => found.at(first + index));
      const hits = h("ol", { class: "hits", start: first + 1 });
      for (let at = 0; at === 0 || at < numbers.length; at += AT_ONCE) {
        const rows = await Promise.all(numbers.slice(at, at + AT_ONCE).map(Search.row));
        if (mine !== turn) return; // something newer was asked for meanwhile
        add(hits, rows.map((row) => hit(row, Search.wordsOf(state.q))));
        if (hits.parentNode) continue;
        status.textContent = found.length ? `${count(found.length, "row")}, by family` : "No row holds all of this.";
        results.replaceChildren(hits);
      }
      add(results, [pager(page, pages, (to) => route(["rows"], { ...state, page: to > 1 ? to : "" }))]);
    };

    const changed = (name, value, typed) => {
      state[name] = value;
      page = 1;
      history[typed ? "replaceState" : "pushState"](null, "", where());
      show().catch(App.failed);
    };
    const form = searchForm(state, changed);
    await show();
    return { title: state.q ? `${state.q}: instructions` : "Instructions", content: [h("h1", {}, "Instructions"), form, status, results] };
  };

  const searchForm = (state, changed) => h("form", { class: "find", role: "search", onsubmit: (event) => event.preventDefault() },
    h("label", { for: "q" }, "Words"),
    h("input", { id: "q", type: "search", value: state.q, autocomplete: "off", spellcheck: "false", "aria-describedby": "how", oninput: (event) => changed("q", event.target.value, true) }),
    h("p", { id: "how", class: "soft" }, "Rows that hold all of them; three letters or more also find longer words that begin so."),
    h("label", { class: "check" }, h("input", { type: "checkbox", checked: state.responses === "1", onchange: (event) => changed("responses", event.target.checked ? "1" : "", false) }), " Look in responses too"),
    h("div", { class: "filters" }, Object.entries(LABELS).map(([name, shown]) => select(name, shown, state[name], Run.rows.filters[name], (value) => changed(name, value, false)))),
    state.problem && h("p", {}, "Only rows that hold ", foreign(state.problem), ". ", link(route(["rows"]), "All rows")));

  const select = (name, shown, chosen, values, changed) => h("div", {},
    h("label", { for: `filter-${name}` }, shown),
    h("select", { id: `filter-${name}`, onchange: (event) => changed(event.target.value) },
      h("option", { value: "" }, "all"),
      values.map(([value, rows]) => h("option", { value, selected: String(value) === chosen }, `${words(value)} (${rows.toLocaleString("en")})`))));

  const family = async (parts) => {
    const root = parts.join("/");
    const first = await Search.one(`=family:${root}`);
    if (first === undefined) return App.nothing(`No family ${root}`);
    const start = await Search.row(first);
    const members = await Search.rows(...start.family);
    const [before, after] = await Promise.all([first > 0 && Search.row(first - 1), first + members.length < Run.rows.count && Search.row(first + members.length)]);
    const steps = h("ol", { class: "steps" }, members.map((row) => step(row, members.find((one) => one.id === row.parent_id))));
    return {
      title: `Family ${root}`,
      content: [
        h("h1", {}, "A family, from its seed"),
        h("p", { class: "soft" }, `${count(members.length, "row")}. `, members.length > 1 && [h("ins", {}, "Underlined"), " is new against the row that it was made from, ", h("del", {}, "struck out"), " is gone."]),
        h("div", { class: "bar" },
          members.length > 1 && h("label", { class: "check" }, h("input", { type: "checkbox", checked: true, onchange: (event) => steps.classList.toggle("plain", !event.target.checked) }), " Mark what changed"),
          App.copyButton()),
        steps,
        h("nav", { class: "pager", "aria-label": "Families" },
          before ? link(route(["family", before.root_id]), "Previous family") : h("span", { class: "soft" }, "Previous family"),
          after ? link(route(["family", after.root_id]), "Next family") : h("span", { class: "soft" }, "Next family")),
      ],
    };
  };

  const step = (row, parent) => h("li", { class: row.status },
    h("h2", {}, link(route(["row", row.id]), label(row))), tags(row),
    row.evidence.length > 0 && h("ul", { class: "evidence" }, row.evidence.map((one) => h("li", {}, finding(one)))),
    parent ? Difference.shown(task(parent), task(row)) : block(task(row)),
    row.response !== "" && h("details", {}, h("summary", {}, "Response"), block(row.response)));

  const one = async (parts) => {
    const id = parts.join("/");
    const number = await Search.one(`=id:${id}`);
    if (number === undefined) return App.nothing(`No row ${id}`);
    const row = await Search.row(number);
    const members = await Search.rows(...row.family);
    const parent = members.find((other) => other.id === row.parent_id);
    const children = members.filter((other) => other.parent_id === row.id);
    const reason = Run.rows.reasons.find((known) => known.reason === row.reason);
    return {
      title: `${label(row)} ${row.id}`,
      content: [
        h("h1", {}, label(row)), tags(row),
        h("div", { class: "bar" }, link(route(["family", row.root_id]), `Family of ${count(members.length, "row")}`),
          parent && link(route(["row", parent.id]), `Made from: ${label(parent).toLowerCase()}`),
          children.map((child) => link(route(["row", child.id]), `Became: ${label(child).toLowerCase()}`)), App.copyButton()),
        row.status !== "kept" && h("section", {}, h("h2", {}, "Why it was eliminated"), h("p", {}, h("strong", {}, words(row.reason)), ". ", reason?.meaning), await Promise.all(row.evidence.map((found) => proof(row, found)))),
        h("h2", {}, "Instruction"), parent ? Difference.shown(task(parent), task(row)) : block(task(row)),
        h("h2", {}, "Response"), block(row.response),
        h("h2", {}, "How it was made"), facts(row),
      ],
    };
  };

  const facts = (row) => h("dl", {}, [
    ["id", row.id], ["root", row.root_id], ["made from", row.parent_id ?? "nothing: a seed"], ["teacher", row.teacher], ["sampling", row.sampling],
    ["tokens", `${row.prompt_tokens.toLocaleString("en")} in, ${row.completion_tokens.toLocaleString("en")} out`], ["paid replies in the journal", row.request_keys.join(", ") || "none"],
  ].map(([name, value]) => [h("dt", {}, name), h("dd", { dir: "auto" }, value)]));

  // The evidence in full: the other row, with the differences; the problem, with the text that both hold.
  const proof = async (row, found) => {
    if (!found.duplicate_of) {
      const where = await Problems.scored(found.benchmark, found.task_id);
      return h("div", {}, h("p", {}, finding(found)), where && h("p", {}, link(where, `What models answered to ${found.task_id}`)));
    }
    const number = await Search.one(`=id:${found.duplicate_of}`);
    const other = number === undefined ? null : await Search.row(number);
    return h("div", {}, h("p", {}, finding(found)), other && h("details", { open: true }, h("summary", {}, "This row against that one"), Difference.shown(task(other), task(row))));
  };

  const eliminated = async () => {
    const rounds = Run.rows.rounds.map((round) => round.round);
    const rows = Run.rows.reasons.map(({ reason, meaning, by_round }) => {
      const by = new Map(by_round);
      const to = (round, number) => number ? link(route(["rows"], { status: "eliminated", reason, round }), number.toLocaleString("en")) : "–";
      return [[link(route(["rows"], { status: "eliminated", reason }), words(reason)), h("span", { class: "meaning" }, meaning)],
        to("", by_round.reduce((sum, [, number]) => sum + number, 0)), ...rounds.map((round) => to(round, by.get(round) ?? 0))];
    });
    return {
      title: "Eliminated",
      content: [h("h1", {}, "Eliminated"),
        rows.length ? [h("p", { class: "lead" }, "Why rows fell, and in which round. Each number leads to its rows, with the evidence."), table("Eliminated rows by reason and round", ["reason", "all", ...rounds.map((round) => (round === 0 ? "seeds" : round))], rows)]
          : h("p", {}, "No row was eliminated.")],
    };
  };

  return { list, family, one, eliminated };
})();
