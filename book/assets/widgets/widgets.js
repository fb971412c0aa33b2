/* Interactive figures. book/widgets.py writes a container with data for each; this script loads
   the file that draws it and replaces the container's text. Nothing else is loaded. */
(() => {
  "use strict";

  const folder = new URL(".", document.currentScript.src);
  const VOID = 255;
  const VOID_COLOUR = [235, 235, 235];
  const WRONG_COLOUR = [209, 73, 91];

  // Starting

  /** Register the figure `name`; `draw(data)` returns its nodes. */
  function define(name, draw) {
    for (const container of document.querySelectorAll(`.explorable[data-widget="${name}"]`)) {
      const data = JSON.parse(container.querySelector("script").textContent);
      const title = element(
        "p",
        { class: "explorable-title" },
        container.getAttribute("aria-label"),
      );
      container.replaceChildren(title, ...draw(data)); // if this fails, the text stays
      container.dataset.live = "";
    }
  }

  function start() {
    const containers = [...document.querySelectorAll(".explorable[data-widget]")];
    for (const name of new Set(containers.map((container) => container.dataset.widget))) {
      document.head.append(element("script", { src: new URL(`${name}.js`, folder).href }));
    }
  }

  // Elements

  /** An HTML element. Attributes that are functions listen to the event of their name. */
  function element(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  /** The same in SVG. */
  function shape(tag, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  }

  /** A frame that shows on any colour, and a function to place it. */
  function frame() {
    const rects = [shape("rect", { class: "halo" }), shape("rect", { class: "frame" })];
    const place = (x, y, width, height) =>
      rects.forEach((rect) => fill(rect, { x, y, width, height }, []));
    return [shape("g", {}, ...rects), place];
  }

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") node.addEventListener(name, value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  /** A number as text, with its exact value in the attribute. */
  const number = (value, digits = 1) =>
    element("data", { value }, value === null ? "–" : value.toFixed(digits));

  const button = (text, click) => element("button", { type: "button", click }, text);

  let groups = 0;

  /** Radio buttons in a row; `change(index)` is called with the chosen one. */
  function radios(legend, options, selected, change) {
    const name = `explorable-${groups++}`;
    const choices = options.map((option, index) =>
      element(
        "label",
        {},
        element("input", {
          type: "radio",
          name,
          value: index,
          checked: index === selected,
          change: () => change(index),
        }),
        element("span", {}, option),
      ),
    );
    const row = element("div", { class: "explorable-choices" }, ...choices);
    return element("fieldset", {}, element("legend", {}, legend), row);
  }

  /** A slider over named stops. */
  function slider(label, stops, selected, change) {
    const input = element("input", {
      type: "range",
      min: 0,
      max: stops.length - 1,
      step: 1,
      value: selected,
      "aria-label": label,
    });
    const names = stops.map((stop, index) =>
      element("span", { click: () => show(index, true) }, stop),
    );
    const show = (index, moved) => {
      input.value = index;
      input.setAttribute("aria-valuetext", stops[index]);
      names.forEach((name, i) => name.toggleAttribute("data-chosen", i === index));
      if (moved) change(index);
    };
    input.addEventListener("input", () => show(Number(input.value), true));
    show(selected, false);
    const scale = element("div", { class: "explorable-stops", "aria-hidden": "true" }, ...names);
    return element("div", { class: "explorable-slider" }, element("span", {}, label), input, scale);
  }

  /**
   * Make `stage` react to pointer and keys. `point(x, y, event)` takes a place in 0..1 each way;
   * `move(dx, dy, event)` steps, infinite ones for Home, End and the Page keys.
   */
  function follow(stage, label, point, move) {
    fill(stage, { tabindex: 0, role: "application", "aria-label": label }, []);
    const steps = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
      Home: [-Infinity, 0],
      End: [Infinity, 0],
      PageUp: [0, -Infinity],
      PageDown: [0, Infinity],
    };
    const pointed = (event) => {
      const box = stage.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width;
      const y = (event.clientY - box.top) / box.height;
      point(clamp(x, 0, 1 - 1e-9), clamp(y, 0, 1 - 1e-9), event);
    };
    stage.addEventListener("pointerdown", pointed);
    stage.addEventListener("pointermove", pointed);
    stage.addEventListener("keydown", (event) => {
      if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      move(...steps[event.key], event);
    });
  }

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // Label maps: Uint8Array, row by row, void 255

  /** The label map of the run lengths [label, count, label, count, ...]. */
  function labelMap(runs) {
    let size = 0;
    for (let i = 1; i < runs.length; i += 2) size += runs[i];
    const labels = new Uint8Array(size);
    for (let i = 0, at = 0; i < runs.length; i += 2) labels.fill(runs[i], at, (at += runs[i + 1]));
    return labels;
  }

  /** A canvas for label maps, one pixel for each label, with a text alternative. */
  const canvas = (width, height, alt) =>
    element("canvas", { width, height, role: "img", "aria-label": alt });

  /** Paint a label map; if `truth` is given, pixels that differ from it in the colour of errors. */
  function paint(target, labels, palette, truth = null) {
    const pixels = new Uint8ClampedArray(4 * labels.length);
    labels.forEach((label, i) => {
      const isWrong = truth && truth[i] !== VOID && truth[i] !== label;
      pixels.set(isWrong ? WRONG_COLOUR : (palette[label] ?? VOID_COLOUR), 4 * i);
      pixels[4 * i + 3] = 255;
    });
    target.getContext("2d").putImageData(new ImageData(pixels, target.width), 0, 0);
  }

  // Metrics: the formulas of fcn/metrics.py

  /** Pixels by true class (rows) and predicted class; predicted void fills one more column. */
  function confusion(truth, predicted, classes) {
    const matrix = Array.from({ length: classes }, () => new Array(classes + 1).fill(0));
    truth.forEach((label, i) => {
      if (label !== VOID) matrix[label][Math.min(predicted[i], classes)] += 1;
    });
    return matrix;
  }

  const sum = (values) => values.reduce((total, value) => total + value, 0);

  /** The four metrics in percent; classes without a pixel in the ground truth are left out. */
  function metrics(matrix) {
    const t = matrix.map(sum);
    const hit = matrix.map((row, i) => row[i]);
    const union = t.map((count, i) => count + sum(matrix.map((row) => row[i])) - hit[i]);
    const present = [...t.keys()].filter((i) => t[i] > 0);
    const iu = t.map((count, i) => (count > 0 ? (100 * hit[i]) / union[i] : null));
    const total = sum(t);
    return {
      pixel_accuracy: (100 * sum(hit)) / total,
      mean_accuracy: sum(present.map((i) => (100 * hit[i]) / t[i])) / present.length,
      mean_iu: sum(present.map((i) => iu[i])) / present.length,
      frequency_weighted_iu: sum(present.map((i) => t[i] * iu[i])) / total,
      iu_per_class: iu,
    };
  }

  const METRICS = {
    pixel_accuracy: "Pixel accuracy",
    mean_accuracy: "Mean accuracy",
    mean_iu: "Mean IU",
    frequency_weighted_iu: "Frequency weighted IU",
  };

  /** A square in the colour of a class. */
  const swatch = (colour) =>
    element("i", { class: "explorable-swatch", style: `background: rgb(${colour})` });

  /** A list of classes with their IU; returns the node and a function that sets the numbers. */
  function classList(names, palette) {
    const values = names.map(() => element("span"));
    const items = names.map((name, i) =>
      element("li", {}, swatch(palette[i]), element("span", {}, name), values[i]),
    );
    const show = (iu) =>
      iu.forEach((value, i) => {
        items[i].hidden = value === null;
        values[i].replaceChildren(number(value, 0));
      });
    return [element("ul", { class: "explorable-classes" }, ...items), show];
  }

  window.Explorable = {
    VOID,
    METRICS,
    define,
    element,
    shape,
    frame,
    number,
    button,
    radios,
    slider,
    follow,
    clamp,
    labelMap,
    canvas,
    paint,
    confusion,
    sum,
    metrics,
    swatch,
    classList,
  };
  if (document.readyState !== "complete") addEventListener("load", start); // text and pictures first
  else start();
})();
