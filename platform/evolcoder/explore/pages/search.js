"use strict";
// Finds rows by the inverted index that evolcoder.explore.postings writes. A shard is loaded when a word needs it.

const Search = (() => {
  const IDEOGRAPHS = "\\u3040-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7a3";
  const WORD = new RegExp(`[${IDEOGRAPHS}]|(?:(?![${IDEOGRAPHS}])[\\p{L}\\p{N}])+`, "gu");
  const LONGEST = 32;
  const MOST = 200; // words of a query that count; see held in find
  const BEGINNING = 3; // letters from which on a word is also found as the beginning of a longer one
  const DIGIT = new Uint8Array(128);
  [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"].forEach((sign, value) => {
    DIGIT[sign.charCodeAt(0)] = value;
  });

  const wordsOf = (text) => [
    ...new Set(
      (text.normalize("NFKC").toLowerCase().match(WORD) ?? []).map((word) => [...word].slice(0, LONGEST).join("")),
    ),
  ];

  // Counts in `held` for each row of a list, as evolcoder.explore.postings encodes it, that it holds one more of the words, where
  // it holds all `passed` words before. Returns how many rows that were.
  const mark = (list, held, passed) => {
    let row = -1,
      gap = 0,
      unit = 1,
      marked = 0;
    for (let at = 0; at < list.length; at++) {
      const digit = DIGIT[list.charCodeAt(at)];
      gap += (digit & 31) * unit;
      if (digit >= 32) {
        unit *= 32;
        continue;
      }
      row += gap + 1;
      if (held[row] === passed) {
        held[row] = passed + 1;
        marked += 1;
      }
      gap = 0;
      unit = 1;
    }
    return marked;
  };

  // The last place in a sorted list whose word is at most this one; -1: none.
  const place = (sorted, word) => {
    let low = 0,
      high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] <= word) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  };

  // Every list of rows of this word in one index, or of all words that begin with it.
  const lists = async (index, word, beginning) => {
    const firsts = Run.rows.indexes[index];
    const last = beginning ? `${word}\uffff` : word;
    const shards = [];
    for (let shard = Math.max(place(firsts, word), 0); shard < firsts.length && firsts[shard] <= last; shard++)
      shards.push(Shards.get(`${index}/${shard}`));
    const found = [];
    for (const [known, rows] of await Promise.all(shards)) {
      const end = place(known, last);
      for (let at = Math.max(place(known, word), 0); at <= end; at++) {
        if (beginning ? known[at].startsWith(word) : known[at] === word) found.push(rows[at]);
      }
    }
    return found;
  };

  // How many rows hold all words and keys, and the numbers of so many of them, ascending. keys are such as "=status:kept".
  const find = async (text, responses, keys) => {
    const all = Run.rows.count;
    const asked = [
      ...keys.map((key) => [lists("instructions", key, false)]),
      ...wordsOf(text)
        .slice(0, MOST)
        .map((word) =>
          (responses ? ["instructions", "responses"] : ["instructions"]).map((index) =>
            lists(index, word, word.length >= BEGINNING),
          ),
        ),
    ];
    const held = new Uint8Array(all); // how many of the words so far each row holds: fewer than 256
    let length = all,
      passed = 0;
    for (const parts of asked) {
      length = 0;
      for (const list of (await Promise.all(parts)).flat()) length += mark(list, held, passed);
      passed += 1;
    }
    const numbers = (first, most) => {
      const found = [];
      for (let row = 0, before = 0; row < all && found.length < most; row++)
        if (held[row] === passed && before++ >= first) found.push(row);
      return found;
    };
    return { length, numbers };
  };

  const row = async (number) =>
    (await Shards.get(`rows/${Math.floor(number / Run.rows.per_page)}`))[number % Run.rows.per_page];

  const rows = (first, length) => Promise.all(Array.from({ length }, (_, index) => row(first + index)));

  // The number of the one row with this key; undefined: none.
  const one = async (key) => {
    const [list] = await lists("instructions", key, false);
    if (list === undefined) return undefined;
    const held = new Uint8Array(Run.rows.count);
    mark(list, held, 0);
    return held.indexOf(1);
  };

  return { find, one, row, rows, wordsOf };
})();
