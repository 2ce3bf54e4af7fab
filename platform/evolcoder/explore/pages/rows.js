"use strict";
// Instructions: one row, a family over the rounds, and why rows were eliminated.

const Rows = (() => {
  const label = (row) => (row.round === 0 ? "Seed" : `Round ${row.round}: ${words(row.operator)}`);

  const tags = (row) =>
    h(
      "p",
      { class: "tags" },
      tag(row.status === "kept" ? "kept" : `${row.status}: ${words(row.reason)}`, row.status),
      tag(row.language),
    );

  const task = (row) => (row.input ? `${row.instruction}\n\nInput: ${row.input}` : row.instruction);

  const finding = (one) => {
    if (one.duplicate_of) {
      const how =
        one.kind === "exact"
          ? "Says the same as"
          : `Says nearly the same (${Math.round(100 * one.similarity)} % alike) as`;
      return [`${how} `, link(route(["row", one.duplicate_of]), `row ${one.duplicate_of}`)];
    }
    return [
      "Holds ",
      h("strong", {}, foreign(`${one.benchmark} ${one.task_id}`)),
      `, found by the rule “${words(one.rule)}”: `,
      foreign(one.evidence, "q"),
    ];
  };

  const family = async (parts) => {
    const root = parts.join("/");
    const first = await Search.one(`=family:${root}`);
    if (first === undefined) return App.nothing(`No family ${root}`);
    const start = await Search.row(first);
    const members = await Search.rows(...start.family);
    const [before, after] = await Promise.all([
      first > 0 && Search.row(first - 1),
      first + members.length < Run.rows.count && Search.row(first + members.length),
    ]);
    const steps = h(
      "ol",
      { class: "steps" },
      members.map((row) =>
        step(
          row,
          members.find((one) => one.id === row.parent_id),
        ),
      ),
    );
    return {
      title: `Family ${root}`,
      content: [
        h("h1", {}, "A family, from its seed"),
        h(
          "p",
          { class: "soft" },
          `${count(members.length, "row")}. `,
          members.length > 1 && [
            h("ins", {}, "Underlined"),
            " is new against the row that it was made from, ",
            h("del", {}, "struck out"),
            " is gone.",
          ],
        ),
        h(
          "div",
          { class: "bar" },
          members.length > 1 &&
            h(
              "label",
              { class: "check" },
              h("input", {
                type: "checkbox",
                checked: true,
                onchange: (event) => steps.classList.toggle("plain", !event.target.checked),
              }),
              " Mark what changed",
            ),
          App.copyButton(),
        ),
        steps,
        h(
          "nav",
          { class: "pager", "aria-label": "Families" },
          before
            ? link(route(["family", before.root_id]), "Previous family")
            : h("span", { class: "soft" }, "Previous family"),
          after ? link(route(["family", after.root_id]), "Next family") : h("span", { class: "soft" }, "Next family"),
        ),
      ],
    };
  };

  const step = (row, parent) =>
    h(
      "li",
      { class: row.status },
      h("h2", {}, link(route(["row", row.id]), label(row))),
      tags(row),
      row.evidence.length > 0 &&
        h(
          "ul",
          { class: "evidence" },
          row.evidence.map((one) => h("li", {}, finding(one))),
        ),
      parent ? Difference.shown(task(parent), task(row)) : block(task(row)),
      row.response !== "" && h("details", {}, h("summary", {}, "Response"), block(row.response)),
    );

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
        h("h1", {}, label(row)),
        tags(row),
        h(
          "div",
          { class: "bar" },
          link(route(["family", row.root_id]), `Family of ${count(members.length, "row")}`),
          parent && link(route(["row", parent.id]), `Made from: ${label(parent).toLowerCase()}`),
          children.map((child) => link(route(["row", child.id]), `Became: ${label(child).toLowerCase()}`)),
          App.copyButton(),
        ),
        row.status !== "kept" &&
          h(
            "section",
            {},
            h("h2", {}, "Why it was eliminated"),
            h("p", {}, h("strong", {}, words(row.reason)), ". ", reason?.meaning),
            await Promise.all(row.evidence.map((found) => proof(row, found))),
          ),
        h("h2", {}, "Instruction"),
        parent ? Difference.shown(task(parent), task(row)) : block(task(row)),
        h("h2", {}, "Response"),
        block(row.response),
        h("h2", {}, "How it was made"),
        facts(row),
      ],
    };
  };

  const facts = (row) =>
    h(
      "dl",
      {},
      [
        ["id", row.id],
        ["root", row.root_id],
        ["made from", row.parent_id ?? "nothing: a seed"],
        ["teacher", row.teacher],
        ["sampling", row.sampling],
        ["tokens", `${row.prompt_tokens.toLocaleString("en")} in, ${row.completion_tokens.toLocaleString("en")} out`],
        ["paid replies in the journal", row.request_keys.join(", ") || "none"],
      ].map(([name, value]) => [h("dt", {}, name), h("dd", { dir: "auto" }, value)]),
    );

  // The evidence in full: the other row, with the differences; the problem, with the text that both hold.
  const proof = async (row, found) => {
    if (!found.duplicate_of) {
      const where = await Problems.scored(found.benchmark, found.task_id);
      return h(
        "div",
        {},
        h("p", {}, finding(found)),
        where && h("p", {}, link(where, `What models answered to ${found.task_id}`)),
      );
    }
    const number = await Search.one(`=id:${found.duplicate_of}`);
    const other = number === undefined ? null : await Search.row(number);
    return h(
      "div",
      {},
      h("p", {}, finding(found)),
      other &&
        h(
          "details",
          { open: true },
          h("summary", {}, "This row against that one"),
          Difference.shown(task(other), task(row)),
        ),
    );
  };

  const eliminated = async () => {
    const rounds = Run.rows.rounds.map((round) => round.round);
    const rows = Run.rows.reasons.map(({ reason, meaning, by_round }) => {
      const by = new Map(by_round);
      const to = (round, number) =>
        number ? link(route(["rows"], { status: "eliminated", reason, round }), number.toLocaleString("en")) : "–";
      return [
        [
          link(route(["rows"], { status: "eliminated", reason }), words(reason)),
          h("span", { class: "meaning" }, meaning),
        ],
        to(
          "",
          by_round.reduce((sum, [, number]) => sum + number, 0),
        ),
        ...rounds.map((round) => to(round, by.get(round) ?? 0)),
      ];
    });
    return {
      title: "Eliminated",
      content: [
        h("h1", {}, "Eliminated"),
        rows.length
          ? [
              h(
                "p",
                { class: "lead" },
                "Why rows fell, and in which round. Each number leads to its rows, with the evidence.",
              ),
              table(
                "Eliminated rows by reason and round",
                ["reason", "all", ...rounds.map((round) => (round === 0 ? "seeds" : round))],
                rows,
              ),
            ]
          : h("p", {}, "No row was eliminated."),
      ],
    };
  };

  return { label, tags, task, finding, family, one, eliminated };
})();
