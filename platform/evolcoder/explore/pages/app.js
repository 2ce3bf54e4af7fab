"use strict";
// Which view an address shows. Addresses are fragments (#/row/...), so that a folder on a disk has them too.

const App = (() => {
  const VIEWS = {
    "": Overview.view,
    rows: Instructions.list,
    row: Rows.one,
    family: Rows.family,
    eliminated: Rows.eliminated,
    problems: Problems.list,
    problem: Answers.one,
    compare: Problems.compare,
  };
  const LINKS = [
    ["", "Overview"],
    ["rows", "Instructions"],
    ["eliminated", "Eliminated"],
    ["problems", "Problems"],
    ["compare", "Side by side"],
  ];
  const BELONGS = { row: "rows", family: "rows", problem: "problems" };
  const main = document.getElementById("main");
  let turn = 0;

  const nothing = (what) => ({
    title: "Nothing here",
    content: [
      h("h1", {}, "Nothing here"),
      h("p", {}, foreign(what), " in this run. ", link("#/", "Go to the overview")),
    ],
  });

  const failed = (error) => {
    main.replaceChildren(h("h1", {}, "This cannot be shown"), h("p", { role: "alert" }, error.message));
    if (!(error instanceof Error) || !error.message.startsWith("data/")) console.error(error);
  };

  const copyButton = () =>
    h(
      "button",
      {
        type: "button",
        onclick: async (event) => {
          try {
            await navigator.clipboard.writeText(location.href);
            event.target.textContent = "Copied";
          } catch {
            event.target.textContent = "Copy it from the address bar";
          }
        },
      },
      "Copy link",
    );

  const read = (hash) => {
    const [path, query] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
    try {
      const [name, ...parts] = path.split("/").map(decodeURIComponent);
      return {
        name,
        parts: parts.filter((part, at) => part !== "" || at < parts.length - 1),
        asked: new URLSearchParams(query ?? ""),
      };
    } catch {
      return { name: "?", parts: [], asked: new URLSearchParams() };
    }
  };

  const show = async (first) => {
    const mine = ++turn;
    const { name, parts, asked } = read(location.hash);
    const view = Object.hasOwn(VIEWS, name) ? VIEWS[name] : async () => nothing(`No view ${name}`);
    try {
      const { title, content } = await view(parts, asked);
      if (mine !== turn) return;
      document.title = `${title} · ${Run.name}`;
      main.replaceChildren();
      add(main, [content]);
    } catch (error) {
      if (mine === turn) failed(error);
    }
    for (const one of document.querySelectorAll("#views a")) {
      if (one.dataset.view === (BELONGS[name] ?? name)) one.setAttribute("aria-current", "page");
      else one.removeAttribute("aria-current");
    }
    if (!first) main.focus({ preventScroll: true });
    scrollTo(0, history.state?.y ?? 0);
  };

  const started = async () => {
    Run = await Shards.get("run");
    document.getElementById("run").replaceChildren(foreign(Run.name));
    document.getElementById("made").textContent = `Made ${Run.made_at} by evolcoder ${Run.version}.`;
    document.getElementById("views").append(
      h(
        "ul",
        {},
        LINKS.map(([name, text]) => h("li", {}, h("a", { href: `#/${name}`, "data-view": name }, text))),
      ),
    );
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault();
      main.focus();
    });
    history.scrollRestoration = "manual";
    addEventListener("hashchange", () => show(false));
    addEventListener("scrollend", () => history.replaceState({ y: scrollY }, ""));
    addEventListener("beforeprint", () =>
      document.querySelectorAll("details").forEach((one) => {
        one.open = true;
      }),
    );
    await show(true);
  };

  queueMicrotask(() => started().catch(failed)); // when this constant is there, for the views use it
  return { nothing, failed, copyButton };
})();
