/* Predictions of nets and the ground truth, one at a time.
   data: {scenes: [{src, width, height, maps: {title: runs}}], names, palette}; the last map is
   the ground truth */
"use strict";

Explorable.define("stages", ({ scenes, names, palette }) => {
  const {
    VOID,
    element,
    shape,
    frame,
    number,
    radios,
    slider,
    follow,
    clamp,
    labelMap,
    canvas,
    paint,
    confusion,
    metrics,
    classList,
  } = Explorable;
  const titles = Object.keys(scenes[0].maps);
  const chosen = { scene: 0, map: 0, wrong: false };
  let cursor = null; // column and row
  let maps; // of the scene
  let scores;

  const { width, height } = scenes[0];
  const photo = element("img", { width, height, alt: "The painted scene" });
  const target = canvas(width, height, "");
  const [pointer, placePointer] = frame();
  const stage = element(
    "div",
    { class: "explorable-stage" },
    target,
    shape("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, pointer),
  );
  const caption = element("figcaption");
  const where = element("output", { "aria-live": "polite" });
  const rows = titles.map(() => ({ row: element("tr"), cells: [element("td"), element("td")] }));
  const table = element(
    "table",
    { class: "explorable-table" },
    element("caption", {}, "This scene, in percent"),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("td"),
        element("th", { scope: "col" }, "Pixel accuracy"),
        element("th", { scope: "col" }, "Mean IU"),
      ),
    ),
    element(
      "tbody",
      {},
      ...rows.map(({ row, cells }, i) => {
        row.append(element("th", { scope: "row" }, titles[i]), ...cells);
        return row;
      }),
    ),
  );
  const [classes, showClasses] = classList(names, palette);

  function open(scene) {
    chosen.scene = scene;
    maps = Object.values(scenes[scene].maps).map(labelMap);
    scores = maps.map((labels) => metrics(confusion(maps.at(-1), labels, names.length)));
    scores.forEach(({ pixel_accuracy, mean_iu }, i) => {
      const last = i === titles.length - 1;
      rows[i].cells[0].replaceChildren(last ? "" : number(pixel_accuracy));
      rows[i].cells[1].replaceChildren(last ? "" : number(mean_iu));
    });
    photo.src = scenes[scene].src;
    show();
  }

  function show() {
    const title = titles[chosen.map];
    paint(target, maps[chosen.map], palette, chosen.wrong ? maps.at(-1) : null);
    target.setAttribute("aria-label", `Label map: ${title}`);
    caption.textContent = chosen.wrong ? `${title}, wrong pixels in red` : title;
    rows.forEach(({ row }, i) => row.toggleAttribute("data-chosen", i === chosen.map));
    showClasses(scores[chosen.map].iu_per_class);
    point();
  }

  function point() {
    pointer.style.display = cursor ? "" : "none";
    if (!cursor) return where.replaceChildren("Point at a pixel to see what each net calls it.");
    const [x, y] = cursor;
    placePointer(x, y, 1, 1);
    const called = maps.map((labels, i) => {
      const label = labels[y * width + x];
      return `${titles[i]}: ${label === VOID ? "void" : names[label]}`;
    });
    where.replaceChildren(`Row ${y}, column ${x}. ${called.join("; ")}.`);
  }

  follow(
    stage,
    "Label map. Arrow keys move from pixel to pixel.",
    (x, y) => {
      cursor = [Math.floor(x * width), Math.floor(y * height)];
      point();
    },
    (dx, dy) => {
      const [x, y] = cursor ?? [0, 0];
      cursor = [clamp(x + dx, 0, width - 1), clamp(y + dy, 0, height - 1)];
      point();
    },
  );
  open(0);
  const wrong = element("input", {
    type: "checkbox",
    change: () => {
      chosen.wrong = wrong.checked;
      show();
    },
  });
  return [
    element(
      "div",
      { class: "explorable-controls" },
      radios(
        "Scene",
        scenes.map((_, i) => i + 1),
        0,
        open,
      ),
      element("label", { class: "explorable-check" }, wrong, " wrong pixels in red"),
    ),
    slider("Show", titles, chosen.map, (index) => {
      chosen.map = index;
      show();
    }),
    element(
      "div",
      { class: "explorable-pair explorable-twins" },
      element("figure", {}, photo, element("figcaption", {}, "Painted scene")),
      element("figure", {}, stage, caption),
    ),
    where,
    table,
    element("p", { class: "explorable-help" }, "IU of each class, in percent:"),
    classes,
  ];
});
