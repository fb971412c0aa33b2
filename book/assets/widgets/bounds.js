/* Ground truth reduced to a grid and enlarged again: fcn/replication/upper_bounds.py in the page.
   data: {scenes: [{width, height, labels: runs}], names, palette, factors,
          table: {protocol: [mean IU on VOC by factor]}} */
"use strict";

Explorable.define("bounds", ({ scenes, names, palette, factors, table }) => {
  const {
    VOID,
    element,
    number,
    radios,
    slider,
    labelMap,
    canvas,
    paint,
    confusion,
    metrics,
    classList,
  } = Explorable;
  const DOWN = {
    sample: "its middle pixel",
    vote: "the winner of a vote",
    mean: "the share of each label",
  };
  const UP = { repeat: "repeated", bilinear: "interpolated" };
  const ENDS = {
    abstains: "does not vote",
    "an error": "votes; predicted, an error",
    "left out": "votes; predicted, left out",
  };
  const truths = scenes.map(({ labels }) => labelMap(labels));
  const chosen = {
    scene: 0,
    factor: factors.indexOf(32),
    down: "vote",
    up: "bilinear",
    void: "abstains",
  };

  /** The share of the votes of each channel in each cell, and the grid's size. */
  function reduce(labels, width, factor, channels) {
    const height = labels.length / width;
    const [rows, columns] = [Math.ceil(height / factor), Math.ceil(width / factor)];
    const votes = Array.from({ length: rows * columns }, () => new Array(channels.length).fill(0));
    const channel = new Map(channels.map((label, i) => [label, i]));
    if (chosen.down === "sample") {
      const middle = (i, side) => Math.min(i * factor + Math.floor(factor / 2), side - 1);
      votes.forEach((cell, n) => {
        const [y, x] = [middle(Math.floor(n / columns), height), middle(n % columns, width)];
        cell[channel.get(labels[y * width + x])] = 1;
      });
    } else {
      labels.forEach((label, i) => {
        const n =
          Math.floor(Math.floor(i / width) / factor) * columns + Math.floor((i % width) / factor);
        votes[n][channel.get(label)] += 1;
      });
    }
    for (const cell of votes) {
      if (chosen.void === "abstains") cell[cell.length - 1] = 0;
      const total = Explorable.sum(cell);
      const winner = largest(cell);
      cell.forEach((count, i) => {
        if (chosen.down === "mean") cell[i] = total ? count / total : 0;
        else cell[i] = count > 0 && i === winner ? 1 : 0;
      });
    }
    return { votes, rows, columns };
  }

  /** The index of the largest value, the first in a tie. */
  function largest(values) {
    let best = 0;
    for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
    return best;
  }

  /** The two cells next to each pixel along one axis, and the weight of the second. */
  function neighbours(pixels, cells, factor) {
    return Array.from({ length: pixels }, (_, i) => {
      const place = Math.max((i + 0.5) / factor - 0.5, 0);
      const first = Math.min(Math.floor(place), cells - 1);
      return [first, Math.min(first + 1, cells - 1), place - first];
    });
  }

  /** The labels at the pixels. */
  function enlarge({ votes, rows, columns }, width, height, factor, channels) {
    const labels = new Uint8Array(width * height);
    const [down, across] = [neighbours(height, rows, factor), neighbours(width, columns, factor)];
    const mixed = new Array(channels.length);
    for (let y = 0, n = 0; y < height; y++) {
      const [top, bottom, v] = down[y];
      for (let x = 0; x < width; x++, n++) {
        if (chosen.up === "repeat") {
          labels[n] =
            channels[largest(votes[Math.floor(y / factor) * columns + Math.floor(x / factor)])];
          continue;
        }
        const [left, right, h] = across[x];
        const [a, b] = [votes[top * columns + left], votes[top * columns + right]];
        const [c, d] = [votes[bottom * columns + left], votes[bottom * columns + right]];
        for (let i = 0; i < mixed.length; i++) {
          mixed[i] = (1 - v) * ((1 - h) * a[i] + h * b[i]) + v * ((1 - h) * c[i] + h * d[i]);
        }
        labels[n] = channels[largest(mixed)];
      }
    }
    return labels;
  }

  /** The protocol's name in the table. */
  function protocol() {
    const { down, up, void: end } = chosen;
    // The largest share, repeated, is the winner of the vote.
    const same = down === "mean" && up === "repeat" ? "vote" : down;
    return `${same}, ${up}, void ${end === "abstains" ? end : `votes, predicted void ${end}`}`;
  }

  const view = element("div", { class: "explorable-triple" });
  const readout = element("output", { "aria-live": "polite" });
  const [classes, showClasses] = classList(names, palette);

  function show() {
    const { width, height } = scenes[chosen.scene];
    const truth = truths[chosen.scene];
    const factor = factors[chosen.factor];
    const channels = [...new Set([0, ...truth, VOID])].sort((a, b) => a - b);
    const grid = reduce(truth, width, factor, channels);
    const predicted = enlarge(grid, width, height, factor, channels);

    const matrix = confusion(truth, predicted, names.length);
    if (chosen.void === "left out") for (const row of matrix) row[names.length] = 0;
    const found = metrics(matrix);

    const cells = canvas(grid.columns, grid.rows, `${grid.rows} × ${grid.columns} cells`);
    paint(
      cells,
      Uint8Array.from(grid.votes, (cell) => channels[largest(cell)]),
      palette,
    );
    // The last cells reach beyond the image: show what lies on it.
    cells.style.width = `${(100 * grid.columns * factor) / width}%`;
    const box = element(
      "div",
      { class: "explorable-crop", style: `aspect-ratio: ${width} / ${height}` },
      cells,
    );
    const back = canvas(width, height, "The labels back at the pixels");
    paint(back, predicted, palette);
    const wrong = canvas(width, height, "The same with wrong pixels in red");
    paint(wrong, predicted, palette, truth);
    const solution = canvas(width, height, "The ground truth");
    paint(solution, truth, palette);
    const captions = [
      "Ground truth",
      `${grid.rows} × ${grid.columns} cells`,
      "Back at the pixels",
      "Wrong in red",
    ];
    view.replaceChildren(
      ...[solution, box, back, wrong].map((node, i) =>
        element("figure", {}, node, element("figcaption", {}, captions[i])),
      ),
    );

    const reference = table[protocol()];
    const gone = names.filter(
      (_, i) => found.iu_per_class[i] !== null && found.iu_per_class[i] < 0.5,
    );
    readout.replaceChildren(
      element(
        "p",
        {},
        `At 1/${factor}, mean IU on this scene: `,
        element("b", { "data-key": "mean_iu" }, number(found.mean_iu)),
        `; pixel accuracy `,
        element("span", { "data-key": "pixel_accuracy" }, number(found.pixel_accuracy)),
        `. ${gone.length ? `Gone: ${gone.join(", ")}.` : ""}`,
      ),
      element(
        "p",
        {},
        `On the 736 images of PASCAL VOC, by the same protocol: `,
        element("span", { "data-key": "voc" }, number(reference[chosen.factor])),
        `; in the paper: `,
        element("span", { "data-key": "paper" }, number(table["the paper"][chosen.factor])),
        `.`,
      ),
    );
    showClasses(found.iu_per_class);
  }

  /** Radio buttons for one of the choices. */
  function choice(legend, key, options) {
    const keys = Object.keys(options);
    return radios(legend, Object.values(options), keys.indexOf(chosen[key]), (i) => {
      chosen[key] = keys[i];
      show();
    });
  }

  show();
  return [
    element(
      "div",
      { class: "explorable-controls" },
      radios(
        "Scene",
        scenes.map((_, i) => i + 1),
        0,
        (i) => {
          chosen.scene = i;
          show();
        },
      ),
      choice("A cell keeps", "down", DOWN),
      choice("On the way up, cells are", "up", UP),
      choice("Void", "void", ENDS),
    ),
    slider(
      "Grid",
      factors.map((factor) => `1/${factor}`),
      chosen.factor,
      (index) => {
        chosen.factor = index;
        show();
      },
    ),
    view,
    readout,
    element("p", { class: "explorable-help" }, "IU of each class, in percent:"),
    classes,
  ];
});
