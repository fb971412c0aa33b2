/* A prediction to paint, and its metrics.
   data: {examples: [{title, width, truth: runs, starts: {name: runs}, names, palette}]} */
"use strict";

Explorable.define("mask", ({ examples }) => {
  const {
    VOID,
    METRICS,
    element,
    shape,
    frame,
    number,
    button,
    radios,
    follow,
    clamp,
    labelMap,
    canvas,
    paint,
    confusion,
    metrics,
    classList,
  } = Explorable;
  const body = element("div");
  const chooser = radios(
    "Example",
    examples.map(({ title }) => title),
    0,
    (i) => open(examples[i]),
  );

  function open({ width, truth: runs, starts, names, palette }) {
    const truth = labelMap(runs);
    const height = truth.length / width;
    let labels = labelMap(Object.values(starts)[0]);
    let before = null; // the metrics before the last stroke
    let brush = 0; // the class to paint
    let reach = 0; // pixels on each side of the middle of the brush
    let cursor = [0, 0]; // column and row
    let history = [];

    const target = canvas(width, height, "The prediction");
    const crosses = ["halo", "frame"].map((name) => shape("path", { class: name }));
    const [pointer, placePointer] = frame();
    const overlay = shape(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
      shape("g", { class: "wrong" }, ...crosses),
      pointer,
    );
    const stage = element("div", { class: "explorable-stage explorable-paint" }, target, overlay);
    const solution = canvas(width, height, "The ground truth; light grey is void");
    paint(solution, truth, palette);

    const rows = Object.fromEntries(
      Object.keys(METRICS).map((key) => [
        key,
        { bar: element("i"), value: element("td", { "data-key": key }), change: element("td") },
      ]),
    );
    const table = element(
      "table",
      { class: "explorable-table" },
      element("caption", {}, "Metrics in percent, and what the last stroke changed"),
      element(
        "tbody",
        {},
        ...Object.entries(METRICS).map(([key, title]) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, title),
            element("td", { class: "bar", "aria-hidden": "true" }, rows[key].bar),
            rows[key].value,
            rows[key].change,
          ),
        ),
      ),
    );
    const where = element("output", { class: "explorable-help" });
    const spoken = element("output", { class: "explorable-spoken", "aria-live": "polite" });
    const [classes, showClasses] = classList(names, palette);

    const name = (label) => names[label] ?? "void";
    const measured = () => metrics(confusion(truth, labels, names.length));

    function show() {
      const now = measured();
      paint(target, labels, palette);
      const wrong = [...labels.keys()].filter((i) => truth[i] !== VOID && truth[i] !== labels[i]);
      const cross = (i) => `M${(i % width) + 0.3} ${Math.floor(i / width) + 0.3}l.4 .4m0-.4l-.4 .4`;
      for (const path of crosses) path.setAttribute("d", wrong.map(cross).join(""));
      for (const [key, { bar, value, change }] of Object.entries(rows)) {
        const moved = before === null ? 0 : now[key] - before[key];
        bar.style.setProperty("--share", `${now[key]}%`);
        value.replaceChildren(number(now[key]));
        change.textContent =
          Math.abs(moved) < 0.05 ? "" : `${moved > 0 ? "+" : "−"}${Math.abs(moved).toFixed(1)}`;
      }
      showClasses(now.iu_per_class);
      point();
    }

    function point() {
      const [x, y] = cursor;
      placePointer(x - reach, y - reach, 2 * reach + 1, 2 * reach + 1);
      const i = y * width + x;
      const both = `is ${name(truth[i])}, predicted ${name(labels[i])}`;
      where.textContent = `Row ${y}, column ${x}: ${both}.`;
    }

    /** Remember the labels and the metrics before a stroke. */
    function begin() {
      history.push(labels.slice());
      before = measured();
    }

    function dab() {
      const [x, y] = cursor;
      for (let row = Math.max(0, y - reach); row <= Math.min(height - 1, y + reach); row++) {
        labels.fill(
          brush,
          row * width + Math.max(0, x - reach),
          row * width + Math.min(width, x + reach + 1),
        );
      }
    }

    /** Paint from the last place of the cursor to a new one, without gaps. */
    function drag(x, y) {
      const [fromX, fromY] = cursor;
      const steps = Math.max(Math.abs(x - fromX), Math.abs(y - fromY), 1);
      for (let i = 1; i <= steps; i++) {
        cursor = [
          Math.round(fromX + ((x - fromX) * i) / steps),
          Math.round(fromY + ((y - fromY) * i) / steps),
        ];
        dab();
      }
    }

    function speak() {
      const now = measured();
      spoken.textContent = Object.entries(METRICS)
        .map(([key, title]) => `${title} ${now[key].toFixed(1)}`)
        .join(", ");
    }

    function replace(changed) {
      begin();
      labels = labelMap(changed);
      show();
      speak();
    }

    let painting = false;
    follow(
      stage,
      `Prediction, ${height} × ${width} pixels. ` +
        "Arrow keys move, Space paints, with Shift the arrows paint, digits choose a class.",
      (x, y, event) => {
        const [column, row] = [Math.floor(x * width), Math.floor(y * height)];
        if (event.type === "pointerdown" && event.button === 0) {
          stage.setPointerCapture(event.pointerId);
          painting = true;
          begin();
          cursor = [column, row];
          dab();
        } else if (painting) drag(column, row);
        cursor = [column, row];
        if (painting) show();
        else point();
      },
      (dx, dy, event) => {
        const to = [clamp(cursor[0] + dx, 0, width - 1), clamp(cursor[1] + dy, 0, height - 1)];
        if (!event.shiftKey) {
          cursor = to;
          return point();
        }
        begin();
        dab();
        drag(...to);
        show();
        speak();
      },
    );
    for (const kind of ["pointerup", "pointercancel"]) {
      stage.addEventListener(kind, () => {
        if (painting) speak();
        painting = false;
      });
    }
    stage.addEventListener("keydown", (event) => {
      if (event.key === " " || event.key === "Enter") {
        event.preventDefault();
        begin();
        dab();
        show();
        speak();
      } else if (/^\d$/.test(event.key) && !event.ctrlKey && !event.metaKey) {
        const input = inputs[(Number(event.key) + 9) % 10]; // 1 is the first, 0 the tenth
        if (input) input.click();
      }
    });

    const choices = radios("Paint", names, brush, (i) => (brush = i));
    const inputs = choices.querySelectorAll("input");
    choices
      .querySelectorAll("span")
      .forEach((text, i) => text.prepend(Explorable.swatch(palette[i])));
    const sizes = [1, 3, 5].filter((size) => size <= width / 8);
    const controls = [choices];
    if (sizes.length > 1)
      controls.push(
        radios("Brush", sizes, 0, (i) => {
          reach = (sizes[i] - 1) / 2;
          point();
        }),
      );
    body.replaceChildren(
      element("div", { class: "explorable-controls" }, ...controls),
      element(
        "div",
        { class: "explorable-pair explorable-mask" },
        element("figure", {}, stage, element("figcaption", {}, "Prediction (×: wrong)")),
        element(
          "figure",
          {},
          solution,
          element("figcaption", {}, "Ground truth (light grey: void)"),
        ),
      ),
      element(
        "div",
        { class: "explorable-buttons", role: "group", "aria-label": "Predictions to start from" },
        ...Object.entries(starts).map(([title, start]) => button(title, () => replace(start))),
        button("undo", () => {
          if (!history.length) return;
          labels = history.pop();
          before = null;
          show();
          speak();
        }),
      ),
      where,
      table,
      element("p", { class: "explorable-help" }, "IU of each class, in percent:"),
      classes,
      spoken,
    );
    show();
  }

  open(examples[0]);
  const help =
    "Drag over the prediction to paint it. With the keyboard: arrows move, Space paints, " +
    "Shift and arrows paint a line, digits choose the class.";
  return [
    element("div", { class: "explorable-controls" }, chooser),
    body,
    element("p", { class: "explorable-help" }, help),
  ];
});
