"use strict";
// The search of instructions: a form, and the rows that hold what it asks for, a list of them at a time.

const Instructions = (() => {
  const PER_LIST = 20;
  const AT_ONCE = 5; // so many hits fill a screen; they are shown when they are there, and then more
  const SNIPPET = 320;
  const LABELS = {
    round: "Round",
    operator: "Operator",
    status: "Kept or eliminated",
    reason: "Reason",
    language: "Language",
  };

  // Where the words of a query stand in a text, marked; pattern is null where there are none.
  const marked = (text, pattern) => {
    const first = pattern ? text.search(pattern) : -1;
    const from = Math.max(0, first - SNIPPET / 3);
    const piece = text.slice(from, from + SNIPPET);
    const parts = [];
    let at = 0;
    for (const found of pattern ? piece.matchAll(pattern) : []) {
      parts.push(piece.slice(at, found.index), h("mark", {}, found[0]));
      at = found.index + found[0].length;
    }
    return {
      found: first >= 0,
      nodes: [from > 0 && "… ", ...parts, piece.slice(at), from + SNIPPET < text.length && " …"],
    };
  };

  const hit = (row, pattern) => {
    const inTask = marked(Rows.task(row), pattern);
    const inResponse = pattern && !inTask.found ? marked(row.response, pattern) : null;
    return h(
      "li",
      { class: "hit" },
      h("h2", {}, link(route(["row", row.id]), Rows.label(row))),
      Rows.tags(row),
      h("p", { class: "snippet", dir: "auto" }, inTask.nodes),
      inResponse?.found && h("p", { class: "snippet soft", dir: "auto" }, "Response: ", inResponse.nodes),
      row.evidence.length > 0 &&
        h(
          "ul",
          { class: "evidence" },
          row.evidence.map((one) => h("li", {}, Rows.finding(one))),
        ),
      row.family[1] > 1 && h("p", {}, link(route(["family", row.root_id]), `Family of ${row.family[1]} rows`)),
    );
  };

  const list = async (_, asked) => {
    const state = {
      q: asked.get("q") ?? "",
      responses: asked.get("responses") ?? "",
      problem: asked.get("problem") ?? "",
    };
    for (const name of Object.keys(LABELS)) state[name] = asked.get(name) ?? "";
    let page = numbered(asked, "page");
    const status = h("p", { role: "status", class: "counted" });
    const results = h("div", {});
    const where = () => route(["rows"], { ...state, page: page > 1 ? page : "" });
    let turn = 0;

    const show = async () => {
      const mine = ++turn;
      const keys = [...Object.keys(LABELS), "problem"]
        .filter((name) => state[name] !== "")
        .map((name) => `=${name}:${state[name]}`);
      const found = await Search.find(state.q, state.responses === "1", keys);
      const pages = Math.max(1, Math.ceil(found.length / PER_LIST));
      page = Math.min(page, pages);
      const first = (page - 1) * PER_LIST;
      const numbers = found.numbers(first, PER_LIST);
      const asked = Search.wordsOf(state.q).join("|"); // they hold letters and digits alone
      const pattern = asked ? new RegExp(`(?<![\\p{L}\\p{N}])(?:${asked})`, "giu") : null;
      const hits = h("ol", { class: "hits", start: first + 1 });
      for (let at = 0; at === 0 || at < numbers.length; at += AT_ONCE) {
        const rows = await Promise.all(numbers.slice(at, at + AT_ONCE).map(Search.row));
        if (mine !== turn) return; // something newer was asked for meanwhile
        add(
          hits,
          rows.map((row) => hit(row, pattern)),
        );
        if (hits.parentNode) continue;
        status.textContent = found.length ? `${count(found.length, "row")}, by family` : "No row holds all of this.";
        results.replaceChildren(hits);
        await new Promise((drawn) => setTimeout(drawn)); // else no frame shows them before all are made
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
    return {
      title: state.q ? `${state.q}: instructions` : "Instructions",
      content: [h("h1", {}, "Instructions"), form, status, results],
    };
  };

  const searchForm = (state, changed) =>
    h(
      "form",
      { class: "find", role: "search", onsubmit: (event) => event.preventDefault() },
      h("label", { for: "q" }, "Words"),
      h("input", {
        id: "q",
        type: "search",
        value: state.q,
        autocomplete: "off",
        spellcheck: "false",
        "aria-describedby": "how",
        oninput: (event) => changed("q", event.target.value, true),
      }),
      h(
        "p",
        { id: "how", class: "soft" },
        "Rows that hold all of them; three letters or more also find longer words that begin so.",
      ),
      h(
        "label",
        { class: "check" },
        h("input", {
          type: "checkbox",
          checked: state.responses === "1",
          onchange: (event) => changed("responses", event.target.checked ? "1" : "", false),
        }),
        " Look in responses too",
      ),
      h(
        "div",
        { class: "filters" },
        Object.entries(LABELS).map(([name, shown]) =>
          select(name, shown, state[name], Run.rows.filters[name], (value) => changed(name, value, false)),
        ),
      ),
      state.problem &&
        h("p", {}, "Only rows that hold ", foreign(state.problem), ". ", link(route(["rows"]), "All rows")),
    );

  const select = (name, shown, chosen, values, changed) =>
    h(
      "div",
      {},
      h("label", { for: `filter-${name}` }, shown),
      h(
        "select",
        { id: `filter-${name}`, onchange: (event) => changed(event.target.value) },
        h("option", { value: "" }, "all"),
        values.map(([value, rows]) =>
          h("option", { value, selected: String(value) === chosen }, `${words(value)} (${rows.toLocaleString("en")})`),
        ),
      ),
    );

  return { list };
})();
