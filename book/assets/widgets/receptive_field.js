/* The receptive field of the cell under the pointer.
   data: {photo: {src, width, height, alt},
          nets: {name: [{layer, size, stride, offset, rows, columns}]}} */
"use strict";

Explorable.define("receptive_field", ({ photo, nets }) => {
  const { element, shape, frame, number, radios, follow, clamp } = Explorable;
  const { width, height } = photo;
  const names = Object.keys(nets);
  const strides = nets[names[0]].map((map) => map.stride);

  const dots = shape("path", { class: "centres" });
  const shade = shape("path", { class: "shade", "fill-rule": "evenodd" });
  const [field, placeField] = frame();
  const cell = shape("rect", { class: "cell" });
  const picture = shape(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    shape("image", { href: photo.src, width, height }),
    dots,
    shade,
    field,
    cell,
  );
  const stage = element("div", { class: "explorable-stage" }, picture);
  const readout = element("output", { "aria-live": "polite" });

  const chosen = { net: 0, map: 0 };
  let at = [width / 2, height / 2]; // column and row of the pixel pointed at
  let index = [0, 0]; // column and row of the cell

  const map = () => nets[names[chosen.net]][chosen.map];
  const centre = (i) => map().stride * i + map().offset;

  /** The cell whose centre is nearest to the pixel pointed at. */
  function nearest() {
    const { stride, offset, rows, columns } = map();
    index = [columns, rows].map((count, axis) =>
      clamp(Math.round((at[axis] - offset) / stride), 0, count - 1),
    );
    show();
  }

  function step(dx, dy) {
    const { rows, columns } = map();
    index = [clamp(index[0] + dx, 0, columns - 1), clamp(index[1] + dy, 0, rows - 1)];
    at = index.map(centre);
    show();
  }

  function show() {
    const { layer, size, stride, offset, rows, columns } = map();
    const [column, row] = index.map(centre);
    const [left, top] = [column, row].map((middle) => middle - (size - 1) / 2); // first pixels seen
    const [right, bottom] = [left, top].map((first) => first + size - 1); // last pixels seen

    // In the drawing, pixel n reaches from n to n + 1.
    placeField(left, top, size, size);
    cell.setAttribute("width", stride);
    cell.setAttribute("height", stride);
    cell.setAttribute("x", column - (stride - 1) / 2);
    cell.setAttribute("y", row - (stride - 1) / 2);
    shade.setAttribute("d", `M0 0H${width}V${height}H0Z M${left} ${top}h${size}v${size}h${-size}Z`);

    const inside = (first, last, count) =>
      Math.max(0, Math.min(last, count - 1) - Math.max(first, 0) + 1);
    const seen = inside(left, right, width) * inside(top, bottom, height);
    const share = (100 * seen) / (width * height);
    const value = (key, amount) => element("data", { value: amount, "data-key": key }, `${amount}`);
    const from = (first, last) => `${first} to ${last}`.replaceAll("-", "−");
    readout.replaceChildren(
      element(
        "p",
        {},
        `${names[chosen.net]} after ${layer}: receptive field `,
        value("size", size),
        ` pixels, stride `,
        value("stride", stride),
        `, offset `,
        value("offset", offset),
        `.`,
      ),
      element(
        "p",
        {},
        `Cell at row ${index[1]}, column ${index[0]} (of ${rows} × ${columns}): centred on row `,
        `${stride} × ${index[1]} + ${offset} = `,
        value("row", row),
        `, column ${stride} × ${index[0]} + ${offset} = `,
        value("column", column),
        `. It sees rows ${from(top, bottom)} and columns ${from(left, right)}: `,
        number(share, 0),
        ` % of the photo.`,
      ),
    );
  }

  function choose(change) {
    Object.assign(chosen, change);
    const { rows, columns, stride } = map();
    const points = [];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        points.push(`M${centre(column) + 0.5} ${centre(row) + 0.5}h0`);
      }
    }
    dots.setAttribute("d", points.join(""));
    dots.style.strokeWidth = 1.5 + stride / 8;
    nearest();
  }

  follow(
    stage,
    `${photo.alt} Arrow keys move from cell to cell.`,
    (x, y) => {
      at = [Math.floor(x * width), Math.floor(y * height)];
      nearest();
    },
    step,
  );
  choose({});
  return [
    element(
      "div",
      { class: "explorable-controls" },
      radios("Backbone", names, chosen.net, (net) => choose({ net })),
      radios("Stride", strides, chosen.map, (position) => choose({ map: position })),
    ),
    stage,
    readout,
    element(
      "p",
      { class: "explorable-help" },
      "Point at the photo, or focus it and use the arrow keys.",
    ),
  ];
});
