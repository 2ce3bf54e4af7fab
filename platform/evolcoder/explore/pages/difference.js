"use strict";
// What a task says that its parent did not, word by word.

const Difference = (() => {
  const MOST_CELLS = 10_000_000; // of the table below; longer texts are shown whole, and said to be

  const pieces = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

  // Runs of [kind, text]: "same", "gone" or "new". null when the texts are too long.
  const between = (before, after) => {
    const a = pieces(before),
      b = pieces(after);
    let head = 0,
      tail = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail])
      tail++;
    const middle = longest(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
    if (middle === null) return null;
    return joined([
      ...a.slice(0, head).map((piece) => ["same", piece]),
      ...middle,
      ...a.slice(a.length - tail).map((piece) => ["same", piece]),
    ]);
  };

  // By the longest common subsequence.
  const longest = (a, b) => {
    const width = b.length + 1;
    if ((a.length + 1) * width > MOST_CELLS) return null;
    const common = new Uint16Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i--) {
      for (let j = b.length - 1; j >= 0; j--) {
        common[i * width + j] =
          a[i] === b[j]
            ? common[(i + 1) * width + j + 1] + 1
            : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
      }
    }
    const found = [];
    let i = 0,
      j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i] === b[j]) found.push(["same", a[i++]]) && j++;
      else if (j === b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1]))
        found.push(["gone", a[i++]]);
      else found.push(["new", b[j++]]);
    }
    return found;
  };

  // Neighbours of one kind become one. What stays between two changes and holds no word belongs to them, or all would be crumbs.
  const joined = (steps) => {
    const runs = [];
    for (const [kind, text] of steps) {
      if (runs.at(-1)?.[0] === kind) runs.at(-1)[1] += text;
      else runs.push([kind, text]);
    }
    const found = [];
    let gone = "",
      fresh = "";
    runs.forEach(([kind, text], at) => {
      if (kind === "gone") gone += text;
      else if (kind === "new") fresh += text;
      else if ((gone || fresh) && at + 1 < runs.length && !/[\p{L}\p{N}]/u.test(text)) {
        gone += text;
        fresh += text;
      } else {
        found.push(["gone", gone], ["new", fresh], [kind, text]);
        gone = fresh = "";
      }
    });
    return [...found, ["gone", gone], ["new", fresh]].filter(([, text]) => text);
  };

  const shown = (before, after) => {
    const runs = between(before, after);
    if (runs === null)
      return h("div", {}, h("p", { class: "soft" }, "Too long to be compared word by word."), block(after));
    const name = { same: "span", gone: "del", new: "ins" };
    return h(
      "pre",
      { dir: "auto", tabindex: "0", class: "difference" },
      runs.map(([kind, text]) => h(name[kind], {}, text)),
    );
  };

  return { between, shown };
})();
