"use strict";
// Benchmarks: their problems with every model's verdict, and what two models passed and failed.

const Problems = (() => {
  const PER_LIST = 50;
  const KINDS = {
    gained: "gained: the second does better",
    lost: "lost: the first does better",
    both: "both pass, equally often",
    neither: "neither passes",
  };

  const find = (name) => {
    const number = Run.benchmarks.findIndex((one) => one.name === name);
    return number < 0 ? null : { number, ...Run.benchmarks[number] };
  };

  const listOf = (benchmark) => Shards.get(`problems/${benchmark.number}/list`);

  // [passed, samples, first verdict] of a model, as a tag.
  const verdict = (entry) => {
    if (!entry) return h("span", { class: "soft" }, "not asked");
    const [passed, samples, status] = entry;
    return samples === 1
      ? tag(words(status), status)
      : tag(`${passed} of ${samples} passed`, passed ? "passed" : "failed");
  };

  const kind = (first, second) => {
    const [a, b] = [first[0] / first[1], second[0] / second[1]];
    return b > a ? "gained" : b < a ? "lost" : a > 0 ? "both" : "neither";
  };

  // A link to a problem of a benchmark, or of one that holds the same problems under the same ids; null where none was scored.
  const scored = async (name, task) => {
    const family = (one) => one.split(/[+-]/)[0];
    for (const { name: known } of Run.benchmarks.filter((one) => family(one.name) === family(name))) {
      if ((await listOf(find(known))).tasks.includes(task)) return route(["problem", known, task]);
    }
    return null;
  };

  const pick = (id, shown, values, chosen, changed) =>
    h(
      "div",
      {},
      h("label", { for: id }, shown),
      h(
        "select",
        { id, onchange: (event) => changed(event.target.value) },
        values.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
      ),
    );

  const start = async () => ({
    title: "Problems",
    content: [
      h("h1", {}, "Problems"),
      Run.benchmarks.length
        ? h(
            "ul",
            {},
            Run.benchmarks.map((one) =>
              h(
                "li",
                {},
                link(route(["problems", one.name]), one.name),
                `: ${count(one.tasks, "problem")}, ${count(one.models.length, "model")}`,
                one.models.length > 1 && [" – ", link(route(["compare", one.name]), "two side by side")],
              ),
            ),
          )
        : h("p", {}, "No model is scored yet."),
    ],
  });

  const list = async (parts, asked) => {
    const benchmark = find(parts[0]);
    if (!parts.length) return Run.benchmarks.length === 1 ? list([Run.benchmarks[0].name], asked) : start();
    if (!benchmark) return App.nothing(`No scores on ${parts[0]}`);
    const { tasks, models } = await listOf(benchmark);
    const state = {
      model: asked.get("model") ?? "",
      verdict: asked.get("verdict") ?? "",
      task: asked.get("task") ?? "",
    };
    const to = (changes) => route(["problems", benchmark.name], { ...state, ...changes });
    const chosen = Math.max(
      0,
      benchmark.models.findIndex((model) => model.name === state.model),
    );
    const statuses = [
      ...new Set(
        models
          .flat()
          .filter(Boolean)
          .map((entry) => entry[2]),
      ),
    ].sort();
    const entries = tasks
      .map((task, index) => ({ task, index }))
      .filter(
        ({ task, index }) =>
          task.toLowerCase().includes(state.task.toLowerCase()) &&
          (state.verdict === "" || models[chosen][index]?.[2] === state.verdict),
      );
    return {
      title: `${benchmark.name}: problems`,
      content: [
        h("h1", {}, `${benchmark.name}: problems`),
        benchmark.models.length > 1 && h("p", {}, link(route(["compare", benchmark.name]), "Two models side by side")),
        h(
          "form",
          {
            class: "find",
            role: "search",
            onsubmit: (event) => {
              event.preventDefault();
              location.hash = to({ task: new FormData(event.target).get("task") });
            },
          },
          h(
            "div",
            { class: "filters" },
            h(
              "div",
              {},
              h("label", { for: "task" }, "Problem"),
              h("input", {
                id: "task",
                name: "task",
                type: "search",
                value: state.task,
                autocomplete: "off",
                onchange: (event) => {
                  location.hash = to({ task: event.target.value });
                },
              }),
            ),
            pick(
              "model",
              "Model",
              benchmark.models.map((model) => [model.name, model.name]),
              state.model,
              (value) => {
                location.hash = to({ model: value });
              },
            ),
            pick(
              "verdict",
              "Its verdict",
              [["", "all"], ...statuses.map((status) => [status, words(status)])],
              state.verdict,
              (value) => {
                location.hash = to({ verdict: value, model: benchmark.models[chosen].name });
              },
            ),
          ),
        ),
        h("p", { role: "status", class: "counted" }, count(entries.length, "problem")),
        verdicts(
          benchmark,
          entries,
          benchmark.models.map((_, index) => index),
          models,
          asked,
          (task) => route(["problem", benchmark.name, task]),
          (number) => to({ page: number }),
        ),
      ],
    };
  };

  const verdicts = (benchmark, entries, shown, models, asked, toProblem, toPage) => {
    const pages = Math.ceil(entries.length / PER_LIST);
    const page = Math.min(numbered(asked, "page"), pages);
    const columns = ["problem", ...shown.map((index) => foreign(benchmark.models[index].name))];
    const rows = entries
      .slice((page - 1) * PER_LIST, page * PER_LIST)
      .map(({ task, index }) => [
        link(toProblem(task), foreign(task)),
        ...shown.map((model) => verdict(models[model][index])),
      ]);
    return entries.length > 0 && [table(`Verdicts on ${benchmark.name}`, columns, rows), pager(page, pages, toPage)];
  };

  // Two models of a benchmark: those that were asked for, else the first two.
  const pair = (benchmark, asked) =>
    ["first", "second"].map((which, at) => {
      const index = benchmark.models.findIndex((model) => model.name === asked.get(which));
      return index < 0 ? Math.min(at, benchmark.models.length - 1) : index;
    });

  const compared = (tasks, models, [first, second]) =>
    tasks
      .map((task, index) => ({ task, index }))
      .filter(({ index }) => models[first][index] && models[second][index])
      .map((entry) => ({ ...entry, kind: kind(models[first][entry.index], models[second][entry.index]) }));

  const compare = async ([name], asked) => {
    const benchmark = find(name);
    if (!benchmark) return name === undefined ? start() : App.nothing(`No scores on ${name}`);
    const { tasks, models } = await listOf(benchmark);
    const shown = pair(benchmark, asked);
    const [first, second] = shown.map((index) => benchmark.models[index].name);
    const filter = asked.get("show") ?? "";
    const all = compared(tasks, models, shown);
    const entries = all.filter((entry) => filter === "" || entry.kind === filter);
    const to = (changes) => route(["compare", benchmark.name], { first, second, show: filter, ...changes });
    const names = benchmark.models.map((model) => [model.name, model.name]);
    const counted = (which) => all.filter((entry) => entry.kind === which).length;
    return {
      title: `${benchmark.name}: ${first} and ${second}`,
      content: [
        h("h1", {}, `${benchmark.name}: two models`),
        h(
          "form",
          { class: "find", onsubmit: (event) => event.preventDefault() },
          h(
            "div",
            { class: "filters" },
            pick("first", "First", names, first, (value) => {
              location.hash = to({ first: value });
            }),
            pick("second", "Second", names, second, (value) => {
              location.hash = to({ second: value });
            }),
          ),
        ),
        h(
          "dl",
          { class: "scores" },
          shown.map((index) => [
            h("dt", {}, foreign(benchmark.models[index].name)),
            h("dd", {}, Overview.score(benchmark.models[index])),
          ]),
        ),
        h(
          "nav",
          { class: "choices", "aria-label": "Which problems to show" },
          [
            ["", `all ${all.length.toLocaleString("en")}`],
            ...Object.keys(KINDS).map((which) => [which, `${which} ${counted(which).toLocaleString("en")}`]),
          ].map(([which, text]) =>
            h(
              "a",
              {
                href: to({ show: which }),
                class: which,
                title: KINDS[which],
                "aria-current": which === filter ? "true" : undefined,
              },
              text,
            ),
          ),
        ),
        h(
          "p",
          { role: "status", class: "counted" },
          `${count(entries.length, "problem")}${filter ? `: ${KINDS[filter] ?? filter}` : " that both were asked"}`,
        ),
        verdicts(
          benchmark,
          entries,
          shown,
          models,
          asked,
          (task) => route(["problem", benchmark.name, task], { first, second, show: filter }),
          (number) => to({ page: number }),
        ),
        h("div", { class: "bar" }, App.copyButton()),
      ],
    };
  };

  return { find, listOf, pick, pair, compared, list, compare, scored };
})();
