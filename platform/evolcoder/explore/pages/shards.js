"use strict";
// Loads the files below data/, each a script that calls explorerShard. The newest stay in memory, the rest are loaded again.

let Run = null; // data/run.js: what there is, set by app.js before any view is shown

const Shards = (() => {
  const KEPT = 160;
  const held = new Map(); // name -> promise of the data; the one used last comes last
  const waiting = new Map(); // name -> what to do with the data
  const policy = globalThis.trustedTypes?.createPolicy("explorer-shards", {
    createScriptURL: (name) => {
      if (!/^[a-z]+(\/[a-z0-9]+)*$/.test(name)) throw new TypeError("no name of a shard");
      return `data/${name}.js`;
    },
  }) ?? { createScriptURL: (name) => `data/${name}.js` };

  // What nobody waits for yet is of a script that index.html names.
  globalThis.explorerShard = (name, data) =>
    (waiting.get(name) ?? ((early) => held.set(name, Promise.resolve(early))))(data);

  const load = (name) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const end = (act, value) => {
        waiting.delete(name);
        script.remove();
        act(value);
      };
      waiting.set(name, (data) => end(resolve, data));
      script.onerror = () =>
        end(
          reject,
          new Error(`data/${name}.js cannot be loaded. Is evolcoder view still running, or the folder whole?`),
        );
      script.src = policy.createScriptURL(name);
      document.head.append(script);
    });

  const get = (name) => {
    const known = held.get(name) ?? load(name);
    held.delete(name);
    held.set(name, known);
    known.catch(() => held.delete(name)); // what failed is tried again
    if (held.size > KEPT) held.delete(held.keys().next().value);
    return known;
  };

  return { get };
})();
