/* A transposed convolution, stamp by stamp.
   data: {cells: [[number]], filters: {name: [[number]]}, stride} */
"use strict";

Explorable.define("stamps", (data) => {
  const { element, button, radios, follow, clamp, sum } = Explorable;
  const filters = Object.entries(data.filters);
  const copy = (rows) => rows.map((row) => [...row]);
  const text = (value) => `${Number(value.toFixed(3))}`.replace("-", "−");

  let cells = copy(data.cells);
  let kernel = copy(filters[0][1]);
  let stride = data.stride;
  let steps = 1; // stamps made so far
  let at = null; // row and column of the fine cell that is explained

  const coarse = element("div", { class: "explorable-numbers" });
  const taps = element("div", { class: "explorable-numbers" });
  const fine = element("div", { class: "explorable-numbers explorable-fine" });
  const told = element("output", { "aria-live": "polite" });
  const explained = element("output", { "aria-live": "polite" });
  const sums = element("p", { class: "explorable-help" });
  const select = element(
    "select",
    { change: () => select.value !== "own" && change({ kernel: copy(filters[select.value][1]) }) },
    ...filters.map(([name], i) => element("option", { value: i }, name)),
    element("option", { value: "own" }, "your own"),
  );

  const count = () => cells.length * cells[0].length;
  const place = (n) => [Math.floor(n / cells[0].length), n % cells[0].length];

  /** The stamps made so far that reach a fine cell: [cell's value, tap]. */
  function reaching(row, column) {
    const found = [];
    for (let n = 0; n < steps; n++) {
      const [i, j] = place(n);
      const tap = kernel[row - stride * i]?.[column - stride * j];
      if (tap !== undefined) found.push([cells[i][j], tap]);
    }
    return found;
  }

  /** Number inputs for `rows`; typing changes them in place. */
  function inputs(target, rows, name, changed) {
    target.style.setProperty("--columns", rows[0].length);
    target.replaceChildren(
      ...rows.flatMap((row, i) =>
        row.map((value, j) =>
          element("input", {
            type: "number",
            step: "any",
            value: Number(value.toFixed(4)),
            "aria-label": `${name}, row ${i}, column ${j}`,
            input: (event) => {
              row[j] = Number.isFinite(event.target.valueAsNumber) ? event.target.valueAsNumber : 0;
              changed();
            },
          }),
        ),
      ),
    );
  }

  /** New cells, filter or stride: draw the inputs again. */
  function change(changed) {
    ({ cells = cells, kernel = kernel, stride = stride } = changed);
    at = null;
    inputs(coarse, cells, "Cell", show);
    inputs(taps, kernel, "Tap", () => {
      select.value = "own";
      show();
    });
    show();
  }

  function show() {
    const height = stride * (cells.length - 1) + kernel.length;
    const width = stride * (cells[0].length - 1) + kernel[0].length;
    const [i, j] = steps ? place(steps - 1) : [-1, -1];
    const totals = [];
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        totals.push(sum(reaching(row, column).map(([value, tap]) => value * tap)));
      }
    }
    const largest = Math.max(...totals.map(Math.abs), 1e-9);
    fine.style.setProperty("--columns", width);
    fine.replaceChildren(
      ...totals.map((value, n) => {
        const [row, column] = [Math.floor(n / width), n % width];
        const node = element("span", { "aria-hidden": "true" }, text(value));
        node.style.setProperty("--strength", Math.abs(value) / largest);
        node.dataset.sign = Math.sign(value);
        node.toggleAttribute(
          "data-stamp",
          steps > 0 && kernel[row - stride * i]?.[column - stride * j] !== undefined,
        );
        node.toggleAttribute("data-chosen", at !== null && row === at[0] && column === at[1]);
        return node;
      }),
    );
    [...coarse.children].forEach((input, n) =>
      input.toggleAttribute("data-chosen", n === steps - 1),
    );
    const extent = (start, taps) => `${start} to ${start + taps - 1}`;
    told.replaceChildren(
      steps === 0
        ? `Nothing stamped yet: ${height} × ${width} zeros.`
        : `Stamp ${steps} of ${count()}: cell (${i}, ${j}) = ${text(cells[i][j])} times the filter, ` +
            `added at rows ${extent(stride * i, kernel.length)}, ` +
            `columns ${extent(stride * j, kernel[0].length)}.`,
    );
    explain();
    phases();
  }

  function explain() {
    if (at === null)
      return explained.replaceChildren("Point at a number in the output to see its sum.");
    const terms = reaching(...at);
    const total = text(sum(terms.map(([value, tap]) => value * tap)));
    const written = terms.map(([value, tap]) => `${text(value)} × ${text(tap)}`).join(" + ");
    explained.replaceChildren(`Row ${at[0]}, column ${at[1]}: ${written || "no stamp"} = ${total}`);
  }

  /** The sums of the taps that lie a whole number of strides apart. */
  function phases() {
    const found = [];
    for (let row = 0; row < stride; row++) {
      for (let column = 0; column < stride; column++) {
        const ours = kernel
          .filter((_, i) => i % stride === row)
          .map((taps) => taps.filter((_, j) => j % stride === column));
        found.push(sum(ours.flat()));
      }
    }
    const equal = found.every((value) => Math.abs(value - found[0]) < 1e-6);
    const times = found[0] === 1 ? "" : `, times ${text(found[0])}`;
    const verdict = equal
      ? `a constant map stays constant${times}`
      : "a constant map gets a pattern";
    sums.replaceChildren(
      `Taps a whole number of strides apart add up to ${found.map(text).join(", ")}: ` +
        `${verdict} (borders apart).`,
    );
  }

  function go(to) {
    steps = clamp(to, 0, count());
    show();
  }

  const look = (row, column) => {
    const width = Number(fine.style.getPropertyValue("--columns"));
    at = [clamp(row, 0, fine.children.length / width - 1), clamp(column, 0, width - 1)];
    [...fine.children].forEach((node, n) =>
      node.toggleAttribute("data-chosen", n === at[0] * width + at[1]),
    );
    explain();
  };
  follow(
    fine,
    "Output. Arrow keys move from number to number.",
    (x, y) => {
      const width = Number(fine.style.getPropertyValue("--columns"));
      look(Math.floor((y * fine.children.length) / width), Math.floor(x * width));
    },
    (dx, dy) => look((at?.[0] ?? 0) + dy, (at?.[1] ?? 0) + dx),
  );

  change({});
  const strides = [1, 2, 3];
  return [
    element(
      "div",
      { class: "explorable-controls" },
      element(
        "div",
        {},
        element("p", {}, "Cells"),
        coarse,
        button("all 1", () => change({ cells: cells.map((row) => row.map(() => 1)) })),
        " ",
        button("as above", () => change({ cells: copy(data.cells) })),
      ),
      element("div", {}, element("label", {}, "Filter ", select), taps),
      radios("Stride", strides, strides.indexOf(stride), (index) =>
        change({ stride: strides[index] }),
      ),
    ),
    element(
      "div",
      { class: "explorable-buttons", role: "group", "aria-label": "Steps" },
      button("Clear", () => go(0)),
      button("Back", () => go(steps - 1)),
      button("Next stamp", () => go(steps + 1)),
      button("All", () => go(count())),
    ),
    told,
    fine,
    explained,
    sums,
  ];
});
