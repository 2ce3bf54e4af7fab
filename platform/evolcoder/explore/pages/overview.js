"use strict";
// The first view: what the run holds, with the ways into it.

const Overview = (() => {
  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  const score = (model) =>
    `${percent(model.value)} (${(100 * model.interval[0]).toFixed(1)} to ${(100 * model.interval[1]).toFixed(1)})`;

  const rounds = () => {
    const { rounds, count: all } = Run.rows;
    if (!all) return h("p", {}, "No round is finished yet.");
    return [
      table(
        "Rows by round",
        ["round", "kept", "eliminated"],
        rounds.map((one) => [
          link(route(["rows"], { round: one.round }), one.round === 0 ? "seeds" : one.round),
          link(route(["rows"], { round: one.round, status: "kept" }), one.kept.toLocaleString("en")),
          link(route(["rows"], { round: one.round, status: "eliminated" }), one.eliminated.toLocaleString("en")),
        ]),
      ),
    ];
  };

  const benchmark = (one) => [
    table(
      one.name,
      ["model", `pass@${one.models[0].k} (95 % interval)`, "problems", "samples", "prompt"],
      one.models.map((model) => [
        link(route(["problems", one.name], { model: model.name }), foreign(model.name)),
        score(model),
        model.tasks,
        model.samples,
        model.style,
      ]),
    ),
    one.models.length > 1 && h("p", {}, link(route(["compare", one.name]), `Compare two models on ${one.name}`)),
  ];

  const view = async () => ({
    title: "Overview",
    content: [
      h("h1", {}, foreign(Run.name)),
      h("p", { class: "lead" }, "What the run’s instructions became, and what its models answered."),
      h(
        "form",
        {
          class: "find",
          role: "search",
          onsubmit: (event) => {
            event.preventDefault();
            location.hash = route(["rows"], { q: new FormData(event.target).get("q") });
          },
        },
        h("label", { for: "quick" }, "Find instructions"),
        h(
          "div",
          { class: "line" },
          h("input", { id: "quick", name: "q", type: "search", autocomplete: "off", spellcheck: "false" }),
          h("button", {}, "Find"),
        ),
      ),
      h("h2", {}, "Instructions"),
      rounds(),
      h("h2", {}, "Answers to benchmarks"),
      Run.benchmarks.length ? Run.benchmarks.map(benchmark) : h("p", {}, "No model is scored yet."),
    ],
  });

  return { view, score };
})();
