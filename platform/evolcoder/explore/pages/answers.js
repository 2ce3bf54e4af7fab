"use strict";
// One problem: its prompt, and every model's raw answer, program and verdict, or those of two models side by side.

const Answers = (() => {
  const one = async ([name, ...rest], asked) => {
    const benchmark = Problems.find(name);
    const task = rest.join("/");
    const listed = benchmark && (await Problems.listOf(benchmark));
    const index = listed ? listed.tasks.indexOf(task) : -1;
    if (index < 0) return App.nothing(`No problem ${task} on ${name}`);
    const two = asked.get("first") !== null;
    const shown = (two ? Problems.pair(benchmark, asked) : benchmark.models.map((_, model) => model)).filter(
      (model) => listed.models[model][index],
    );
    const sides = await Promise.all(
      shown.map(async (model) => ({
        model: benchmark.models[model],
        samples: await Shards.get(`problems/${benchmark.number}/${model}/${index}`),
      })),
    );
    const most = Math.max(...sides.map((side) => side.samples.length));
    const sample = Math.min(most, numbered(asked, "sample"));
    const parameters = { first: asked.get("first"), second: asked.get("second"), show: asked.get("show") };
    const to = (other, changes = {}) => route(["problem", benchmark.name, other], { ...parameters, ...changes });
    const prompts = new Set(sides.map((side) => side.samples[0].prompt));
    const held = await holding(benchmark, task);
    return {
      title: `${task}, ${benchmark.name}`,
      content: [
        h("h1", {}, foreign(task), h("small", {}, ` ${benchmark.name}`)),
        h(
          "div",
          { class: "bar" },
          two && link(route(["compare", benchmark.name], parameters), "Back to the comparison"),
          two && link(route(["problem", benchmark.name, task]), `All ${benchmark.models.length} models`),
          held && link(route(["rows"], { problem: held }), "Rows that held this problem"),
          App.copyButton(),
        ),
        most > 1 &&
          h(
            "div",
            { class: "filters" },
            Problems.pick(
              "sample",
              "Sample",
              Array.from({ length: most }, (_, at) => [String(at + 1), `${at + 1} of ${most}`]),
              String(sample),
              (value) => {
                location.hash = to(task, { sample: value });
              },
            ),
          ),
        prompts.size === 1 && [h("h2", {}, "Prompt"), block([...prompts][0])],
        h(
          "div",
          { class: "sides" },
          sides.map((side) => answer(side, sample, prompts.size > 1)),
        ),
        neighbours(
          two
            ? Problems.compared(listed.tasks, listed.models, Problems.pair(benchmark, asked)).filter(
                (entry) => !parameters.show || entry.kind === parameters.show,
              )
            : listed.tasks.map((other) => ({ task: other })),
          task,
          to,
        ),
      ],
    };
  };

  const answer = ({ model, samples }, number, withPrompt) => {
    const shown = samples[Math.min(number, samples.length) - 1];
    return h(
      "section",
      { class: "side", "aria-label": model.name },
      h("h2", {}, foreign(model.name), " ", tag(words(shown.status), shown.status)),
      h("p", { class: "soft" }, foreign(model.model), `, prompt ${model.style}`),
      h("h3", {}, "Verdict"),
      block(
        `${words(shown.status)}${shown.plus ? ` (base tests ${words(shown.base)}, plus ${words(shown.plus)})` : ""}${shown.detail ? `\n${shown.detail}` : ""}`,
      ),
      h("h3", {}, "Program"),
      block(shown.program),
      h("h3", {}, "Raw answer"),
      block(shown.answer),
      h(
        "p",
        { class: "soft" },
        `Ended by ${shown.finish_reason}; ${shown.prompt_tokens.toLocaleString("en")} tokens in, ${shown.completion_tokens.toLocaleString("en")} out; ${shown.cpu_seconds.toFixed(3)} s of CPU time.`,
      ),
      withPrompt && [h("h3", {}, "Prompt"), block(shown.prompt)],
    );
  };

  const neighbours = (entries, task, to) => {
    const at = entries.findIndex((entry) => entry.task === task);
    const side = (entry, text) =>
      entry ? h("a", { href: to(entry.task) }, `${text}: `, foreign(entry.task)) : h("span", { class: "soft" }, text);
    return h(
      "nav",
      { class: "pager", "aria-label": "Problems" },
      side(entries[at - 1], "Previous"),
      side(at < 0 ? null : entries[at + 1], "Next"),
    );
  };

  // The problem as decontamination names it, when some row of the run held it.
  const holding = async (benchmark, task) => {
    for (const name of new Set([
      benchmark.name,
      benchmark.name.split(/[+-]/)[0],
      `${benchmark.name.split(/[+-]/)[0]}+`,
    ])) {
      if ((await Search.one(`=problem:${name} ${task}`)) !== undefined) return `${name} ${task}`;
    }
    return null;
  };

  return { one };
})();
